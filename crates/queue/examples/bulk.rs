//! Many jobs at once: adding them in few round trips, with an answer for each, and cancelling all
//! that a filter matches. `cargo run -p sluice-queue --example bulk -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, connect};
use sluice_queue::{JobFilter, NewJob, State, Unique};

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    let mut jobs = Vec::new();
    for n in 0..1000 {
        jobs.push(NewJob {
            unique: Some(Unique::by_payload()),
            user: Some(if n % 4 == 0 { "ann" } else { "bob" }.into()),
            delay: Some(Duration::from_secs(3600)),
            // A hundred are there twice.
            ..NewJob::new("bulk", &(n % 900))?
        });
    }
    let mut existing = 0;
    for added in queues.enqueue_all(&jobs).await? {
        existing += u32::from(added?.existing);
    }
    println!("{} jobs, {existing} were there before", jobs.len());

    let of_ann = JobFilter {
        user: Some("ann".into()),
        ..JobFilter::new("bulk", State::Scheduled)
    };
    println!("{} of ann cancelled", queues.cancel_all(&of_ann).await?);
    for state in [State::Cancelled, State::Scheduled] {
        let all = JobFilter::new("bulk", state);
        println!("{} {state:?} deleted", queues.delete_all(&all).await?);
    }
    Ok(())
}
