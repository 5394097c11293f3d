//! What the tests of the queue share: a Valkey, a handle to its queues, and apalis workers that can
//! be stopped.

pub mod damage;
pub mod process;

use std::time::Duration;

use apalis::prelude::{WorkerBuilder, WorkerContext};
use serde_json::value::RawValue;
use sluice_queue::{
    Backoff, Finished, HandlerResult, Idempotency, JobId, JobView, NewJob, QueueConfig, Queues,
    Running, WorkerConfig,
};
use sluice_test_support::TestValkey;
use tokio::task::JoinHandle;

/// Longer than anything takes, shorter than anybody waits for a hanging test.
pub const LONG: Duration = Duration::from_secs(30);

pub async fn queues(valkey: &TestValkey) -> Queues {
    queues_with(valkey, QueueConfig::default()).await
}

pub async fn queues_with(valkey: &TestValkey, config: QueueConfig) -> Queues {
    connect(&valkey.url(), config).await
}

pub async fn connect(url: &str, config: QueueConfig) -> Queues {
    Queues::connect(url, config).await.unwrap()
}

/// A worker's settings with everything ten times faster than by default.
pub fn fast(name: &str, concurrency: usize) -> WorkerConfig {
    WorkerConfig {
        lease: Duration::from_millis(900),
        poll: Duration::from_millis(200),
        backoff: Backoff::doubling(Duration::from_millis(20), Duration::from_millis(100)),
        ..WorkerConfig::new(name, concurrency)
    }
}

pub struct Worker {
    pub context: WorkerContext,
    pub running: JoinHandle<()>,
}

/// Starts an apalis worker on the queue `q`.
pub fn work<F, Fut>(queues: &Queues, config: WorkerConfig, handler: F) -> Worker
where
    F: FnMut(Running) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = HandlerResult> + Send + 'static,
{
    work_on(queues, "q", config, handler)
}

pub fn work_on<F, Fut>(queues: &Queues, queue: &str, config: WorkerConfig, handler: F) -> Worker
where
    F: FnMut(Running) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = HandlerResult> + Send + 'static,
{
    let context = WorkerContext::new(&config.name);
    let worker = WorkerBuilder::new(&context)
        .backend(queues.backend(queue, config))
        .build(handler);
    let running = tokio::spawn(async move { worker.run().await.unwrap() });
    Worker { context, running }
}

impl Worker {
    /// Lets running jobs end, and waits for the worker to be gone.
    pub async fn stop(self) {
        self.context.stop().unwrap();
        tokio::time::timeout(LONG, self.running)
            .await
            .expect("the worker does not stop")
            .unwrap();
    }
}

pub fn job(payload: &impl serde::Serialize) -> NewJob {
    NewJob::new("q", payload).unwrap()
}

/// A job with an idempotency key.
pub fn idempotent(key: &str, fingerprint: &str) -> NewJob {
    NewJob {
        idempotency: Some(Idempotency {
            key: key.into(),
            fingerprint: fingerprint.into(),
        }),
        ..job(&())
    }
}

pub fn json(value: &impl serde::Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

pub async fn finished(queues: &Queues, id: &JobId) -> Finished {
    queues
        .wait(id, LONG)
        .await
        .unwrap()
        .expect("the job does not end")
}

/// The result of a job that completes.
pub async fn result(queues: &Queues, id: &JobId) -> String {
    match finished(queues, id).await {
        Finished::Completed(result) => result.get().to_owned(),
        other => panic!("{id} ended as {other:?}"),
    }
}

/// Waits until the job looks as it should.
pub async fn until(queues: &Queues, id: &JobId, condition: impl Fn(&JobView) -> bool) -> JobView {
    let begun = std::time::Instant::now();
    loop {
        let job = queues.get(id).await.unwrap().expect("the job is gone");
        if condition(&job) {
            return job;
        }
        assert!(begun.elapsed() < LONG, "still {job:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
