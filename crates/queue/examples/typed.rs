//! Payloads, results and refusals of types of one's own; a worker that `main` runs and that ends
//! with its process's work. `cargo run -p sluice-queue --example typed -- redis://127.0.0.1:6379`

mod common;

use apalis::prelude::WorkerBuilder;
use common::{Done, PATIENCE, connect};
use serde::{Deserialize, Serialize};
use sluice_queue::{Finished, HandlerResult, JobError, NewJob, Queues, Running, WorkerConfig};

#[derive(Serialize, Deserialize)]
struct Parcel {
    to: String,
    grams: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    price_cents: u32,
}

#[derive(Debug, Serialize, Deserialize)]
enum Refusal {
    TooHeavy { limit_grams: u32 },
}

const LIMIT_GRAMS: u32 = 20_000;

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

async fn send(running: Running) -> HandlerResult<Receipt> {
    let parcel: Parcel = running.payload()?;
    if parcel.grams > LIMIT_GRAMS {
        let limit_grams = LIMIT_GRAMS;
        return Err(JobError::refuse(&Refusal::TooHeavy { limit_grams }));
    }
    let price_cents = 300 + parcel.grams / 10;
    Ok(Receipt { price_cents })
}

/// Has parcels sent, and then the process end its work.
async fn order(queues: &Queues) -> Done {
    for (to, grams) in [("Ann", 700), ("Bob", 70_000)] {
        let to = to.to_owned();
        let job = NewJob::new("parcels", &Parcel { to, grams })?;
        let id = queues.enqueue(job).await?.id;
        let finished = queues.wait(&id, PATIENCE).await?.ok_or("it goes on")?;
        // Whoever has the id can ask what it was about.
        let job = queues.get(&id).await?.ok_or("the job is gone")?;
        let Parcel { to, .. } = job.payload()?;
        match finished.parse()? {
            Finished::Completed(Receipt { price_cents }) => println!("to {to}: {price_cents} ct"),
            Finished::Refused(Refusal::TooHeavy { limit_grams }) => {
                println!("to {to}: more than {limit_grams} g");
            }
            other => return Err(format!("{id} ended as {other:?}").into()),
        }
    }
    queues.drain(PATIENCE).await;
    Ok(())
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    let worker = WorkerBuilder::new("post")
        .backend(queues.backend("parcels", WorkerConfig::new("post", 4)))
        .build(send);
    // It runs until the queues have drained.
    let (worked, ordered) = tokio::join!(worker.run(), order(queues));
    worked?;
    ordered
}
