//! How many finished jobs are kept, and for how long.
//! `cargo run -p sluice-queue --example retention -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, result, work};
use sluice_queue::{Idempotency, Keep, NewJob, QueueConfig, Queues, Retention, State};

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    // All processes that share queues should agree.
    let config = QueueConfig {
        retention: Retention {
            completed: Keep {
                count: 3,
                age: Duration::from_secs(3600),
            },
            ..Retention::default()
        },
        ..QueueConfig::default()
    };
    let queues = &Queues::connect(url, config).await?;
    work(queues, "diary", async |_| Ok("written"));
    let mut first = None;
    for day in 1..=10 {
        let job = NewJob {
            idempotency: (day == 1).then(|| Idempotency {
                key: "the first day".into(),
                fingerprint: "1".into(),
            }),
            ..NewJob::new("diary", &day)?
        };
        let id = queues.enqueue(job).await?.id;
        result::<String>(queues, &id).await?;
        first = first.or(Some(id));
    }
    for job in queues.list("diary", State::Completed, 0, 100).await? {
        println!("day {} is kept", job.payload);
    }
    // What an idempotency key leads to can still be read for as long as the key lives, 24 h.
    let first = queues.get(&first.ok_or("no job")?).await?;
    println!("day 1 has the result {:?}", first.and_then(|it| it.result));
    Ok(())
}
