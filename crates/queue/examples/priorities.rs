//! Which of the waiting jobs is next: by priority, then first come first served.
//! `cargo run -p sluice-queue --example priorities -- redis://127.0.0.1:6379`

mod common;

use common::{Done, connect, result, work_as};
use sluice_queue::{NewJob, Running, WorkerConfig};

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    queues.pause("mixed").await?;
    let mut last = None;
    // 0 is first and 9 is last; 5 is usual.
    for (priority, name) in [
        (9, "tidy up"),
        (5, "convert a"),
        (5, "convert b"),
        (0, "reset a password"),
    ] {
        let job = NewJob {
            priority,
            ..NewJob::new("mixed", &name)?
        };
        let id = queues.enqueue(job).await?.id;
        last = last.or(Some(id));
    }
    work_as(
        queues,
        "mixed",
        WorkerConfig::new("one at a time", 1),
        async |running: Running| {
            println!("{}", running.payload::<String>()?);
            Ok(())
        },
    );
    queues.resume("mixed").await?;
    // The one that was added first runs last.
    result::<()>(queues, &last.ok_or("no job")?).await?;
    Ok(())
}
