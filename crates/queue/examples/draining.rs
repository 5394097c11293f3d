//! Ending a process in good order: running jobs get a while to end, the others go to another
//! process, no attempt counted.
//! `cargo run -p sluice-queue --example draining -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, connect, result, running, work};
use sluice_queue::{HandlerResult, JobError, NewJob, Running, State};

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

async fn travel(running: Running) -> HandlerResult<String> {
    if let Some(reached) = running.checkpoint::<String>() {
        return Ok(format!("on from {reached}, attempt {}", running.attempt()));
    }
    if running.payload::<String>()? == "short" {
        tokio::time::sleep(Duration::from_millis(100)).await;
        return Ok("there".to_owned());
    }
    running.cancelled().cancelled().await;
    running.save_checkpoint(&"half way").await?;
    Err(JobError::Cancelled)
}

pub(crate) async fn run(url: &str) -> Done {
    let (old, new) = (&connect(url).await?, &connect(url).await?);
    work(old, "travel", travel);
    let short = old.enqueue(NewJob::new("travel", &"short")?).await?.id;
    let long = old.enqueue(NewJob::new("travel", &"long")?).await?.id;
    running(old, &long).await?;

    // Nothing more is fetched. What still runs after a second is told to end, and goes back to its
    // place in line.
    old.drain(Duration::from_secs(1)).await;
    println!("{}", result::<String>(new, &short).await?);
    let job = new.get(&long).await?.ok_or("the job is gone")?;
    assert_eq!((job.state, job.attempts), (State::Available, 0));

    work(new, "travel", travel);
    println!("{}", result::<String>(new, &long).await?);
    Ok(())
}
