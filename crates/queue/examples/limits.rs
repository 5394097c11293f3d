//! How many jobs run at a time, over all workers: of a queue, and of each user in it.
//! `cargo run -p sluice-queue --example limits -- redis://127.0.0.1:6379`

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Done, PATIENCE, connect, work};
use sluice_queue::{Limits, NewJob};

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    work(queues, "shared", move |_| {
        let (running, most) = (running.clone(), most.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });

    // Users at their limit take turns, however many jobs one of them has.
    let limits = Limits {
        all: Some(2),
        per_user: Some(1),
    };
    queues.set_limits("shared", limits).await?;
    let mut jobs = Vec::new();
    for n in 0..12 {
        jobs.push(NewJob {
            user: Some(if n < 9 { "ann" } else { "bob" }.into()),
            ..NewJob::new("shared", &n)?
        });
    }
    for added in queues.enqueue_all(&jobs).await? {
        queues.wait(&added?.id, PATIENCE).await?;
    }
    println!("at most {} ran at a time", seen.load(Ordering::SeqCst));
    Ok(())
}
