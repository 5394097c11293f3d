//! The typed backend: tasks of one type in one queue.

use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll, ready};

use apalis_core::backend::codec::Codec;
use apalis_core::backend::finalize::Durable;
use apalis_core::backend::queue::Queue;
use apalis_core::backend::{Backend, BackendConfig, WireFormatBackend};
use apalis_core::features_table;
use apalis_core::task::Task;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::JsonCodec;
use super::layer::LeaseLayer;
use super::sink::Pushes;
use super::{poll_next, source, task};
use crate::worker::{Source, WorkerConfig};
use crate::{QueueError, Queues};

/// The tasks of one queue, whose payload is an `Args`: pushes them, feeds a worker, waits for
/// results and lists tasks, by apalis' traits. Clones share the connections of their [`Queues`].
///
/// What apalis' traits do not name, such as groups, users or batches, [`Queues::enqueue`] does: a
/// job whose payload is an `Args` is a task here.
///
/// A task whose payload is no `Args` becomes a dead letter, and the worker goes on.
///
/// # Tasks
///
/// | of a [`Task`] | in the queue |
/// |---|---|
/// | id | a [`JobId`](crate::JobId); pushing another task with it adds none. Default: a new one |
/// | delay, time to run at | [`NewJob::run_at`](crate::NewJob::run_at) |
/// | priority | 0, the default, to 5; larger ones run first, as [`NewJob::priority`](crate::NewJob::priority) 5 to 0 |
/// | maximal attempts | [`NewJob::max_attempts`](crate::NewJob::max_attempts) |
/// | idempotency key | [`Unique::by_key`](crate::Unique::by_key), [in any state](crate::Unique::in_any_state): pushing another task with it adds none |
/// | metadata | refused, the queue does not keep it |
///
#[doc = features_table! {
    setup = r#"();
    # let valkey = sluice_test_support::TestValkey::start();
    # let mut backend = {
    #     use sluice_queue::{QueueConfig, Queues, ValkeyStorage};
    #     let queues = Queues::connect(&valkey.url(), QueueConfig::default()).await.unwrap();
    #     ValkeyStorage::<u32>::new(&queues, "numbers")
    # };"#,
    Backend => supported("Fetches tasks with a lease, and records how they end", true),
    TaskSink => supported("Pushes tasks: one, many, a stream, each with its options", true),
    Serialization => limited("Payloads and results are JSON", true),
    WebUI => supported("Lists queues, workers, tasks and figures for `apalis-board`", true),
    FetchById => supported("Finds a task by its ID", false),
    WaitForCompletion => supported("Waits for results, woken by an event", true),
    ListTasks => supported("Lists the tasks of the queue, all or by status", false),
    ListAllTasks => supported("Lists the tasks of all queues, all or by status", false),
    ListQueues => supported("Lists the queues with their figures", false),
    ListWorkers => limited("Lists workers seen in the last 10 s, without their layers", false),
    Metrics => supported("Counts tasks by state", false),
    ResumeById => supported("Puts a dead, cancelled or refused task back in line", false),
    Vacuum => supported("Deletes the tasks that have ended, all or older ones", false),
    RegisterWorker => not_supported("Workers register as they fetch"),
    ResumeAbandoned => not_supported("Live workers take over from lost ones by themselves"),
    Reschedule => not_supported("A handler names the pause by a `RetryAfterError`"),
    Update => not_supported("A task does not change once it is pushed"),
    BackendFactory => not_supported("All storages of one `Queues` share its connections"),
    Workflow => not_supported("The queue has chains and batches of its own"),
}]
pub struct ValkeyStorage<Args> {
    pub(super) source: Source,
    pub(super) pushes: Pushes,
    queue: Queue,
    codec: JsonCodec,
    args: PhantomData<fn() -> Args>,
}

impl<Args> ValkeyStorage<Args> {
    /// The tasks of `queue`, with [`WorkerConfig::default`] for a worker.
    ///
    /// # Panics
    /// When the queue's name has other characters than `a-z`, `0-9` and `-`: it is a constant of
    /// the program.
    pub fn new(queues: &Queues, queue: &str) -> Self {
        Self {
            source: source(queues, queue, WorkerConfig::default()),
            pushes: Pushes::default(),
            queue: Queue::from(queue),
            codec: JsonCodec,
            args: PhantomData,
        }
    }

    /// The same for a worker with these settings.
    #[must_use]
    pub fn with_config(mut self, config: WorkerConfig) -> Self {
        let queues = self.source.queues().clone();
        self.source = Source::new(queues, self.source.queue().to_owned(), config);
        self
    }
}

/// A storage of the same queue, with nothing pushed or fetched yet.
impl<Args> Clone for ValkeyStorage<Args> {
    fn clone(&self) -> Self {
        let config = self.source.config().clone();
        Self::new(self.source.queues(), self.source.queue()).with_config(config)
    }
}

impl<Args> fmt::Debug for ValkeyStorage<Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValkeyStorage")
            .field("queue", &self.source.queue())
            .field("config", &self.source.config())
            .finish_non_exhaustive()
    }
}

impl<Args: Serialize + DeserializeOwned> Backend for ValkeyStorage<Args> {
    type Task = Task<Vec<u8>>;
    type Error = QueueError;

    fn poll_ready(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), QueueError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, QueueError>>> {
        while let Some(mut running) = ready!(poll_next(&mut self.source, context, worker)) {
            let payload = std::mem::take(&mut running.payload);
            // apalis ends a worker that gets what cannot be decoded, so it must not get it.
            let decoded: Result<Args, _> = self.codec.decode(&payload);
            match decoded {
                Ok(_) => return Poll::Ready(Some(Ok(task(&self.queue, running.run, payload)))),
                Err(error) => running.bury(format!("its payload cannot be decoded: {error}")),
            }
        }
        Poll::Ready(None)
    }

    fn poll_close(
        &mut self,
        context: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), QueueError>> {
        self.source.poll_close(context).map(Ok)
    }
}

impl<Args> BackendConfig for ValkeyStorage<Args> {
    type Args = Args;
    type Id = TaskId;
    type Kind = Durable;
    type Config = WorkerConfig;
    type Layer = LeaseLayer;

    fn config(&self) -> &WorkerConfig {
        self.source.config()
    }

    fn middleware(&mut self, worker: &mut WorkerContext) -> LeaseLayer {
        self.source.name_after(worker.name());
        LeaseLayer::new(self.source.config().backoff.clone())
    }
}

impl<Args> WireFormatBackend for ValkeyStorage<Args> {
    type Codec = JsonCodec;
    type Compact = Vec<u8>;

    fn codec(&self) -> &JsonCodec {
        &self.codec
    }
}
