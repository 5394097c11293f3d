//! The jobs that a test leaves in the queues of its Valkey.

use std::error::Error;
use std::time::{Duration, Instant};

use sluice_queue::{QueueConfig, Queues, State};

/// Waits until every job of every queue has ended, apart from those in a state of `left`. For the
/// end of a test: it works where the test's own runtime stands still.
///
/// # Panics
/// When one has not ended within `limit`, and when the queues cannot be read.
pub fn assert_jobs_ended(valkey_url: &str, left: &[State], limit: Duration) {
    let look = || -> Result<_, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(unfinished(valkey_url, left, limit))
    };
    let unfinished = std::thread::scope(|scope| {
        let look = scope.spawn(move || look().map_err(|error| error.to_string()));
        look.join().expect("the look at the queues ends")
    });
    match unfinished {
        Ok(unfinished) => assert!(unfinished.is_empty(), "jobs are left: {unfinished:?}"),
        Err(error) => panic!("cannot look for jobs that are left: {error}"),
    }
}

/// Queue, state and number of what has not ended in the end.
async fn unfinished(
    url: &str,
    left: &[State],
    limit: Duration,
) -> Result<Vec<(String, State, u64)>, Box<dyn Error>> {
    let queues = Queues::connect(url, QueueConfig::default()).await?;
    let begun = Instant::now();
    loop {
        let mut unfinished = Vec::new();
        for queue in queues.queues().await? {
            let states = State::ALL.iter().filter(|state| !state.is_final());
            for &state in states.filter(|state| !left.contains(state)) {
                let count = queue.depth(state);
                if count > 0 {
                    unfinished.push((queue.name.clone(), state, count));
                }
            }
        }
        if unfinished.is_empty() || begun.elapsed() >= limit {
            return Ok(unfinished);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
