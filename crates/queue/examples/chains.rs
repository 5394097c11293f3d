//! Jobs that run one after the other, each with the result of the one before it.
//! `cargo run -p sluice-queue --example chains -- redis://127.0.0.1:6379`

mod common;

use common::{Done, connect, result, work};
use sluice_queue::{NewJob, Running};

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    work(queues, "pipeline", async |running: Running| {
        let step: String = running.payload()?;
        let before: Option<String> = running.input()?;
        Ok(match before {
            Some(before) => format!("{before}, {step}"),
            None => step,
        })
    });
    let mut steps = Vec::new();
    for step in ["fetched", "converted", "stored"] {
        steps.push(NewJob::new("pipeline", &step)?);
    }
    let chain = queues.enqueue_chain(&steps).await?;
    // All of them are there from the start, so the last one can be waited for.
    if let Some(last) = chain.jobs.last() {
        println!("{}", result::<String>(queues, last).await?);
    }
    Ok(())
}
