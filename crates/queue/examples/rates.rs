//! How many jobs start in a time, over all workers: of a queue and of each user.
//! `cargo run -p sluice-queue --example rates -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, PATIENCE, connect, work};
use sluice_queue::{NewJob, Rate, Rates};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    work(queues, "calls", async |_| Ok(()));
    // Never more than 100 in any second; of one user 20 a second on average, 4 at once.
    let rates = Rates {
        all: Some(Rate::sliding_window(100, SECOND)),
        per_user: Some(Rate::token_bucket(20, SECOND, 4)),
    };
    queues.set_rates("calls", rates).await?;
    let mut jobs = Vec::new();
    for user in [
        "ann", "ann", "ann", "ann", "ann", "ann", "ann", "ann", "bob", "bob",
    ] {
        jobs.push(NewJob {
            user: Some(user.into()),
            ..NewJob::new("calls", &user)?
        });
    }
    let mut first = None;
    for added in queues.enqueue_all(&jobs).await? {
        let id = added?.id;
        queues.wait(&id, PATIENCE).await?;
        let job = queues.get(&id).await?.ok_or("the job is gone")?;
        let at = job.started_at.unwrap_or_default();
        let after = at.saturating_sub(*first.get_or_insert(at));
        println!("{} after {after} ms", job.user.unwrap_or_default());
    }
    queues.set_rates("calls", Rates::default()).await?;
    Ok(())
}
