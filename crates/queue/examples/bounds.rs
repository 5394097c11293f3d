//! What has a bound, and what happens beyond it: payloads, results, lines of a log.
//! `cargo run -p sluice-queue --example bounds -- redis://127.0.0.1:6379`

mod common;

use common::{Done, PATIENCE, connect, work};
use serde_json::json;
use sluice_queue::{
    LINE_LIMIT, LogLevel, NewJob, PAYLOAD_LIMIT, QueueConfig, QueueError, Queues, RESULT_LIMIT,
    Running,
};

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    let text = "x".repeat(PAYLOAD_LIMIT);
    match queues.enqueue(NewJob::new("texts", &text)?).await {
        Err(QueueError::TooLarge { what, bytes, limit }) => {
            println!("refused: a {what} of {bytes} bytes, the limit is {limit}");
        }
        other => return Err(format!("not refused: {other:?}").into()),
    }

    // The bound of payloads is a setting of whoever enqueues; workers take what they get.
    let config = QueueConfig {
        payload_limit: 1024 * 1024,
        ..QueueConfig::default()
    };
    let generous = Queues::connect(url, config).await?;
    work(queues, "texts", async |running: Running| {
        let text: String = running.payload()?;
        running.log(LogLevel::Info, &text);
        match text.len() {
            PAYLOAD_LIMIT => Ok(json!(text.len())),
            _ => Ok(json!("y".repeat(RESULT_LIMIT))),
        }
    });
    let id = generous.enqueue(NewJob::new("texts", &text)?).await?.id;
    println!("{:?}", queues.wait(&id, PATIENCE).await?);
    let job = queues.get(&id).await?.ok_or("the job is gone")?;
    let line = job.log.first().ok_or("no log")?;
    assert!(line.text.len() <= LINE_LIMIT);
    println!("a line of its log was cut to {} bytes", line.text.len());

    // A result beyond its bound cannot get smaller by trying again.
    let id = queues.enqueue(NewJob::new("texts", &"short")?).await?.id;
    println!("{:?}", queues.wait(&id, PATIENCE).await?);
    Ok(())
}
