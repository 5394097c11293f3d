//! Typed tasks by apalis' traits: pushed one by one, many at once and with options, handled, and
//! waited for. `cargo run -p sluice-queue --example tasks -- redis://127.0.0.1:6379`

mod common;

use apalis::prelude::*;
use common::{Done, connect};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use sluice_queue::{JobId, LogLevel, Run, ValkeyStorage};

#[derive(Debug, Serialize, Deserialize)]
struct Email {
    to: String,
}

#[derive(Debug, thiserror::Error)]
#[error("{0} is no address")]
struct NoAddress(String);

/// A handler as any backend has it; the [`Run`] is what this one adds.
async fn send(email: Email, attempt: Attempt, run: Run) -> Result<usize, NoAddress> {
    if !email.to.contains('@') {
        return Err(NoAddress(email.to));
    }
    run.log(LogLevel::Info, format!("attempt {}", attempt.current()));
    Ok(email.to.len())
}

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

fn to(to: &str) -> Email {
    Email { to: to.to_owned() }
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = connect(url).await?;
    let mut emails = ValkeyStorage::<Email>::new(&queues, "emails");

    emails.push(to("ann@example.com")).await?;
    emails
        .push_bulk(vec![to("bob@example.com"), to("cy@example.com")])
        .await?;
    // Who wants the result names the task.
    let (good, bad) = (JobId::new("emails"), JobId::new("emails"));
    for (id, email) in [(&good, to("dee@example.com")), (&bad, to("nobody"))] {
        let task = TaskBuilder::new(email)
            .task_id(id.into())
            .priority(3)
            .max_attempts(1)
            .idempotency_key(format!("welcome-{id}"));
        emails.push_task(task.build()).await?;
    }

    let context = WorkerContext::new("sender");
    let worker = WorkerBuilder::new(&context)
        .backend(emails.clone())
        .enable_tracing()
        .on_event(|_, event| {
            if let Event::Error(error) = event {
                println!("failed: {error}");
            }
        })
        .build(send);
    let results = async {
        let mut results = emails.wait_for([good.into(), bad.into()]);
        while let Some(ended) = results.next().await.transpose()? {
            let TaskResult { result, status, .. }: TaskResult<usize> = ended;
            println!("{status}: {result:?}");
        }
        context.stop()?;
        Done::Ok(())
    };
    let (worked, waited) = tokio::join!(worker.run(), results);
    worked?;
    waited
}
