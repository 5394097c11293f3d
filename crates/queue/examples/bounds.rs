//! What has a bound, and what happens beyond it: payloads, results, lines of a log, jobs.
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

    // How many jobs a queue takes is a setting of whoever enqueues, too.
    let config = QueueConfig {
        backlog_limit: 2,
        ..QueueConfig::default()
    };
    let modest = Queues::connect(url, config).await?;
    modest.pause("few").await?;
    let jobs = [1, 2, 3].map(|n| NewJob::new("few", &n));
    let jobs = jobs.into_iter().collect::<Result<Vec<_>, _>>()?;
    for added in modest.enqueue_all(&jobs).await? {
        assert!(matches!(added, Err(QueueError::Full(_))));
    }
    println!("three jobs were refused: the queue takes two");
    let added = modest.enqueue_all(&jobs[..2]).await?;
    let first = added.into_iter().next().ok_or("no answer")??;
    match modest.enqueue(jobs[2].clone()).await {
        Err(QueueError::Full(queue)) => println!("refused: the queue {queue} is full"),
        other => return Err(format!("not refused: {other:?}").into()),
    }
    modest.cancel(&first.id).await?;
    modest.enqueue(jobs[2].clone()).await?;
    println!("one of them was cancelled, and another one has its room");
    Ok(())
}
