//! Groups: of each one job runs at a time, in the order of enqueueing, while other groups go on
//! beside it. `cargo run -p sluice-queue --example groups -- redis://127.0.0.1:6379`

mod common;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::{Done, PATIENCE, connect, work};
use serde::{Deserialize, Serialize};
use sluice_queue::{NewJob, Running};

#[derive(Serialize, Deserialize)]
struct Change {
    account: String,
    number: u32,
}

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    let ends = Arc::new(Mutex::new(HashMap::<String, Vec<u32>>::new()));
    let ended = ends.clone();
    work(queues, "accounts", move |running: Running| {
        let ended = ended.clone();
        async move {
            let change: Change = running.payload()?;
            // The later ones are faster, and would overtake the others if they could.
            tokio::time::sleep(Duration::from_millis(40 / u64::from(change.number))).await;
            let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
            let account = ended.entry(change.account).or_default();
            account.push(change.number);
            Ok(())
        }
    });
    let mut jobs = Vec::new();
    for number in 1..=4 {
        for account in ["ann", "bob", "cleo"] {
            let change = Change {
                account: account.into(),
                number,
            };
            jobs.push(NewJob {
                group: Some(account.into()),
                ..NewJob::new("accounts", &change)?
            });
        }
    }
    for added in queues.enqueue_all(&jobs).await? {
        queues.wait(&added?.id, PATIENCE).await?;
    }
    for (account, order) in &*ends.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("{account}: {order:?}");
        assert!(order.is_sorted());
    }
    Ok(())
}
