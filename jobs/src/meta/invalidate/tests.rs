#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use sluice_convex::ConvexError;
use sluice_convex::files::history::DeltaBatch;
use sluice_convex::files::{File, Files};
use sluice_queue::{JobId, JobView, QueueConfig, Queues, State};
use sluice_store::cache::{Cache, CacheConfig};
use sluice_store::documents::DocumentsConfig;
use sluice_test_support::TestValkey;
use sluice_valkey::Valkey;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::workers::{JobsConfig, run_workers};

const LONG: Duration = Duration::from_secs(30);

/// A Convex that has so many documents of each user.
#[derive(Default)]
struct Accounts(Mutex<HashMap<String, usize>>);

impl Files for Accounts {
    fn newest_first<'a>(&'a self, _: &'a str) -> BoxStream<'a, Result<Vec<File>, ConvexError>> {
        stream::empty().boxed()
    }

    fn get_many<'a>(
        &'a self,
        _: &'a str,
        _: &'a [String],
    ) -> BoxStream<'a, Result<Vec<File>, ConvexError>> {
        stream::empty().boxed()
    }

    fn any<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Result<bool, ConvexError>> {
        ready(Ok(self.0.lock().unwrap().contains_key(user))).boxed()
    }

    fn list_ids<'a>(
        &'a self,
        user: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, ConvexError>> {
        let left = self.0.lock().unwrap()[user].min(limit);
        ready(Ok((0..left).map(|id| id.to_string()).collect())).boxed()
    }

    fn delete<'a>(
        &'a self,
        user: &'a str,
        doc_ids: &'a [String],
    ) -> BoxFuture<'a, Result<u64, ConvexError>> {
        let delete = async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            *self.0.lock().unwrap().get_mut(user).unwrap() -= doc_ids.len();
            Ok(doc_ids.len() as u64)
        };
        delete.boxed()
    }

    fn now(&self) -> BoxFuture<'_, Result<i64, ConvexError>> {
        ready(Ok(0)).boxed()
    }

    fn changes(&self, _: i64) -> BoxStream<'_, Result<DeltaBatch, ConvexError>> {
        stream::empty().boxed()
    }
}

async fn enqueue(queues: &Queues, user: &str, kind: InvalidateKind) -> JobId {
    let user = user.to_owned();
    Invalidate { user, kind }.enqueue(queues).await.unwrap().id
}

async fn completed(queues: &Queues, id: &JobId) -> JobView {
    let finished = queues.wait(id, LONG).await.unwrap();
    finished.expect("the job does not end");
    queues.get(id).await.unwrap().unwrap()
}

#[test]
fn a_deletion_is_never_given_up_and_a_log_out_is() {
    let attempts = |kind| {
        let user = "u".to_owned();
        Invalidate { user, kind }.new_job().unwrap().max_attempts
    };
    assert_eq!(attempts(InvalidateKind::Del), None);
    assert!(attempts(InvalidateKind::Out).is_some());
}

#[tokio::test]
async fn a_deletion_of_many_documents_lets_others_go_first() {
    let valkey = TestValkey::start();
    let url = valkey.url();
    let queues = Queues::connect(&url, QueueConfig::default());
    let queues = queues.await.unwrap();
    let store = Valkey::at(&url).unwrap();
    let cache = Cache::new(&store, CacheConfig::default()).unwrap();
    // The large one would take a minute.
    let large = 1200 * DOCUMENTS_PER_STEP;
    let users = [("large", large), ("small", 3), ("gone", 1)];
    let accounts = users.map(|(user, count)| (user.to_owned(), count));
    let accounts = Arc::new(Accounts(Mutex::new(HashMap::from(accounts))));
    let config = JobsConfig {
        concurrency: 1,
        losses: 3,
        worker_name: "test".to_owned(),
        host: "test".to_owned(),
        schedules: Vec::new(),
        device_idle: Duration::MAX,
        contents: Default::default(),
        documents: DocumentsConfig::default(),
        drain: Duration::ZERO,
        tail: None,
    };
    let shutdown = CancellationToken::new();
    let _end = shutdown.clone().drop_guard();
    tokio::spawn(run_workers(
        queues.clone(),
        cache,
        accounts.clone(),
        config,
        shutdown,
    ));

    let deletion = enqueue(&queues, "large", InvalidateKind::Del).await;
    let mut changes = std::pin::pin!(queues.watch(&deletion));
    while changes.next().await.unwrap().unwrap().state != State::Running {}
    let log_out = enqueue(&queues, "gone", InvalidateKind::Out).await;
    let other = enqueue(&queues, "small", InvalidateKind::Del).await;
    let [log_out, other] = [
        completed(&queues, &log_out).await,
        completed(&queues, &other).await,
    ];
    assert_eq!(log_out.state, State::Completed);
    let answer: serde_json::Value = other.result().unwrap().unwrap();
    assert_eq!(answer["deleted"], 3);
    let view = queues.get(&deletion).await.unwrap().unwrap();
    assert!(!view.state.is_final(), "{view:?}");

    // The rest of it goes in one step.
    let left = {
        let mut accounts = accounts.0.lock().unwrap();
        std::mem::replace(accounts.get_mut("large").unwrap(), DOCUMENTS_PER_STEP)
    };
    assert!((1..large).contains(&left), "{left}");
    let view = completed(&queues, &deletion).await;
    assert_eq!(view.state, State::Completed);
    assert_eq!((view.attempts, view.errors.len()), (1, 0));
}
