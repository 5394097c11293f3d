//! After the load: waits until nothing goes on any more, and records what is there then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::call::Call;
use crate::caller::{Caller, is_final};
use crate::cluster::Cluster;
use crate::harness::wait_until_tailed;
use crate::history::{Entry, Event};
use crate::load::{Leaver, Names, Watching, keys_of};

/// How long jobs that failed some times may take to come back, and watchers to catch up.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(200);

/// Everything is whole again and the load has ended.
pub async fn settle(
    cluster: &Cluster,
    caller: &Caller,
    names: &Names,
    leavers: &[Leaver],
    watching: &Watching,
) {
    record_jobs(caller).await;
    record_lines(cluster, caller).await;
    for document in names.shared() {
        let body = final_document(caller, &document).await;
        let revision = body["revision"].as_u64().unwrap_or_default();
        wait_for("watchers", async || watching.have_seen(&document, revision)).await;
    }
    record_own_documents(caller).await;
    wait_until_tailed(&cluster.valkey, &cluster.client).await;
    record_files(cluster, caller, names).await;
    record_leavers(cluster, caller, leavers).await;
}

/// Waits, but not for ever: the checker says what did not come about.
async fn wait_for(what: &str, condition: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        if begun.elapsed() > PATIENCE {
            eprintln!("soak: {what} did not settle in {PATIENCE:?}");
            return;
        }
        sleep(LOOK).await;
    }
}

/// Every job that an answer named, in its final state if it comes to one.
async fn record_jobs(caller: &Caller) {
    let begun = Instant::now();
    for job in jobs_of(&caller.history.read()) {
        let look = Call::Job { job: job.clone() };
        let view = loop {
            let view = match caller.send(&look).await {
                Ok(answer) if answer.status == 200 => Some(answer.body),
                Ok(answer) if answer.status == 404 => Some(Value::Null),
                _ => None,
            };
            let is_settled = view.as_ref().is_some_and(|it| it.is_null() || is_final(it));
            if is_settled || begun.elapsed() > PATIENCE {
                break view.unwrap_or_default();
            }
            sleep(LOOK).await;
        };
        caller.history.record(Event::Job { job, view });
    }
}

/// Whether there are jobs, of callers or others, that go on.
async fn record_lines(cluster: &Cluster, caller: &Caller) {
    let begun = Instant::now();
    let left = loop {
        let left = cluster.lines();
        if left.is_empty() || begun.elapsed() > PATIENCE {
            break left;
        }
        sleep(LOOK).await;
    };
    caller.history.record(Event::Lines { left });
}

/// The jobs that answers name.
fn jobs_of(history: &[Entry]) -> BTreeSet<String> {
    let mut jobs = BTreeSet::new();
    let mut name = |body: &Value| jobs.extend(body["job"].as_str().map(str::to_owned));
    for entry in history {
        if let Event::Answered { answer, .. } = &entry.event {
            name(&answer.body);
            let outcomes = answer.body["outcomes"].as_array();
            outcomes.into_iter().flatten().for_each(&mut name);
        }
    }
    jobs
}

async fn final_document(caller: &Caller, document: &str) -> Value {
    let call = Call::Read {
        document: document.to_owned(),
    };
    let answer = caller.send(&call).await.unwrap();
    let body = match answer.status {
        200 => answer.body,
        _ => Value::Null,
    };
    caller.history.record(Event::Document {
        document: document.to_owned(),
        body: body.clone(),
    });
    body
}

/// Documents that had one writer.
async fn record_own_documents(caller: &Caller) {
    let mut documents = BTreeSet::new();
    for entry in caller.history.read() {
        if let Event::Sent {
            call: Call::Step { document, .. },
            ..
        } = entry.event
        {
            documents.insert(document);
        }
    }
    for document in documents {
        final_document(caller, &document).await;
    }
}

async fn record_files(cluster: &Cluster, caller: &Caller, names: &Names) {
    let mut of_users: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for file in cluster.client.convex_documents().await.values() {
        let (user, id, version) = version_of(file);
        of_users
            .entry(user.to_owned())
            .or_default()
            .insert(id.to_owned(), version);
    }
    for user in names.keepers() {
        let mut entries = Err(Value::Null);
        for _ in 0..5 {
            entries = cluster.client.list(&user).await;
        }
        let cached = entries.unwrap();
        let cached = cached.iter().map(|file| {
            let (_, id, version) = version_of(file);
            (id.to_owned(), version)
        });
        caller.history.record(Event::Files {
            complete: claims_all(cluster, &user),
            cached: cached.collect(),
            convex: of_users.get(&user).cloned().unwrap_or_default(),
            user,
        });
    }
}

fn version_of(file: &Value) -> (&str, &str, u64) {
    let text = |field: &str| file[field].as_str().unwrap_or_default();
    let version = file["size"].as_f64().unwrap_or_default();
    (text("user"), text("id"), version as u64)
}

/// Whether the user's cached set is one of all his files.
fn claims_all(cluster: &Cluster, user: &str) -> bool {
    let (complete, skipped): (Option<String>, Option<u64>) = redis::cmd("HMGET")
        .arg(format!("sm1:{{{user}}}:live:info"))
        .arg(&["complete", "skipped"])
        .query(&mut cluster.valkey.connection())
        .unwrap();
    complete.as_deref() == Some("1") && skipped == Some(0)
}

async fn record_leavers(cluster: &Cluster, caller: &Caller, leavers: &[Leaver]) {
    for Leaver { user, kind } in leavers {
        let documents = match kind.as_str() {
            "DEL" => Some(cluster.client.convex_count(user).await),
            _ => None,
        };
        let keys = keys_of(&cluster.valkey.url(), user, kind).await.unwrap();
        caller.history.record(Event::Left {
            user: user.clone(),
            kind: kind.clone(),
            keys,
            documents,
        });
    }
}
