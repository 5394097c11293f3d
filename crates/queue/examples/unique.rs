//! Jobs that are there once: by key, by arguments, for a period, in which states.
//! `cargo run -p sluice-queue --example unique -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, connect};
use serde_json::json;
use sluice_queue::{NewJob, Unique};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    for unique in [
        Unique::by_key("report of ann"),
        Unique::by_payload(),
        Unique::by_fields(["user"]),
        Unique::by_fields(["user"]).or_completed(),
        Unique::by_key("whatever became of it").in_any_state(),
        Unique::by_key("hourly").per(HOUR),
    ] {
        let report = NewJob {
            unique: Some(unique),
            delay: Some(HOUR),
            ..NewJob::new("reports", &json!({ "user": "ann", "format": "pdf" }))?
        };
        let first = queues.enqueue(report.clone()).await?;
        let second = queues.enqueue(report).await?;
        assert!(second.existing && second.id == first.id);
        println!("the second one is {}", second.id);
        queues.delete(&first.id).await?;
    }
    Ok(())
}
