//! Enqueueing a job and waiting for its result.
//! `cargo run -p sluice-queue --example results -- redis://127.0.0.1:6379`

mod common;

use common::{Done, connect, result, work};
use sluice_queue::NewJob;

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    work(queues, "greet", async |running| {
        let name: String = running.payload()?;
        Ok(format!("hello {name}"))
    });
    let job = queues.enqueue(NewJob::new("greet", &"you")?).await?;
    println!("{}", result::<String>(queues, &job.id).await?);
    Ok(())
}
