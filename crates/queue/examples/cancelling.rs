//! Cancelling: a job that waits, at once; one that runs, through its token; one that does not
//! listen, by dropping it.
//! `cargo run -p sluice-queue --example cancelling -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, PATIENCE, connect, running, work};
use sluice_queue::{HandlerResult, JobError, NewJob, Running};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

async fn endless(running: Running) -> HandlerResult<()> {
    if running.payload::<String>()? == "deaf" {
        tokio::time::sleep(HOUR).await;
    }
    let token = running.cancelled();
    loop {
        tokio::select! {
            () = token.cancelled() => {
                println!("putting away what is half done");
                return Err(JobError::Cancelled);
            }
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    let waiting = NewJob {
        delay: Some(HOUR),
        ..NewJob::new("endless", &"not yet")?
    };
    let id = queues.enqueue(waiting).await?.id;
    queues.cancel(&id).await?;
    println!("{:?}", queues.wait(&id, PATIENCE).await?);

    work(queues, "endless", endless);
    for payload in ["attentive", "deaf"] {
        let id = queues.enqueue(NewJob::new("endless", &payload)?).await?.id;
        running(queues, &id).await?;
        // From any process; the one that runs it is told.
        queues.cancel(&id).await?;
        // The deaf one is dropped after two seconds.
        println!("{payload}: {:?}", queues.wait(&id, PATIENCE).await?);
        assert!(!queues.cancel(&id).await?, "it has ended");
    }
    Ok(())
}
