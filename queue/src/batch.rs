//! Group commit: what many callers ask of one queue at the same time goes to Valkey as one script.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{RedisError, RedisResult};
use tokio::sync::oneshot;

use crate::QueueError;
use crate::keys::{BATCH_BYTES, BATCH_LIMIT};
use crate::queues::Shared;

/// How many scripts of one queue are under way at a time: while the server works on one, the next one is prepared.
const UNDER_WAY: usize = 2;

/// Something that can be asked for together with others of its kind.
pub(crate) trait Request: Sized + Send + Sync + 'static {
    type Answer: Send;

    /// Where requests of this kind wait.
    fn batches(shared: &Shared) -> &Batches<Self>;

    /// About how many bytes it has.
    fn size(&self) -> usize;

    /// Asks for all of them; the answers are in their order.
    fn send(
        shared: &Shared,
        queue: &str,
        batch: &[Self],
    ) -> impl Future<Output = RedisResult<Vec<Self::Answer>>> + Send;
}

/// Collects requests for as long as earlier ones are under way, and no longer: a request that finds nothing under way is
/// sent at once.
pub(crate) struct Batches<R: Request>(Mutex<HashMap<String, Waiting<R>>>);

struct Waiting<R: Request> {
    requests: Vec<(R, oneshot::Sender<RedisResult<R::Answer>>)>,
    under_way: usize,
}

/// The answer to one request. It is sent even when its caller does not wait for it any more.
pub(crate) async fn ask<R: Request>(
    shared: &Arc<Shared>,
    queue: &str,
    request: R,
) -> Result<R::Answer, QueueError> {
    let (sender, answer) = oneshot::channel();
    if R::batches(shared).add(queue, (request, sender)) {
        tokio::spawn(send_all::<R>(shared.clone(), queue.to_owned()));
    }
    match answer.await {
        Ok(answer) => Ok(answer?),
        // The runtime is going down.
        Err(_) => Err(QueueError::Timeout("a batch")),
    }
}

/// Sends what waits, batch by batch, until nothing is left.
async fn send_all<R: Request>(shared: Arc<Shared>, queue: String) {
    while let Some((requests, callers)) = R::batches(&shared).next(&queue) {
        // A caller that is gone needs no answer.
        match R::send(&shared, &queue, &requests).await {
            Ok(answers) => {
                for (caller, answer) in callers.into_iter().zip(answers) {
                    let _ = caller.send(Ok(answer));
                }
            }
            Err(error) => {
                for caller in callers {
                    let _ = caller.send(Err(RedisError::clone(&error)));
                }
            }
        }
    }
}

type Batch<R> = (
    Vec<R>,
    Vec<oneshot::Sender<RedisResult<<R as Request>::Answer>>>,
);

impl<R: Request> Batches<R> {
    /// Whether the caller shall see to it that they are sent.
    fn add(&self, queue: &str, request: (R, oneshot::Sender<RedisResult<R::Answer>>)) -> bool {
        let mut queues = self.lock();
        if !queues.contains_key(queue) {
            queues.insert(queue.to_owned(), Waiting::default());
        }
        let Some(waiting) = queues.get_mut(queue) else {
            return false;
        };
        waiting.requests.push(request);
        let start = waiting.under_way < UNDER_WAY;
        waiting.under_way += usize::from(start);
        start
    }

    fn next(&self, queue: &str) -> Option<Batch<R>> {
        let mut queues = self.lock();
        let waiting = queues.get_mut(queue)?;
        if waiting.requests.is_empty() {
            waiting.under_way -= 1;
            return None;
        }
        let count = fitting(waiting.requests.iter().map(|(request, _)| request.size()));
        Some(waiting.requests.drain(..count).unzip())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting<R>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many requests of these sizes one script takes: a bounded number and size, so that it does not hold up the server.
pub(crate) fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fitting = sizes.take(BATCH_LIMIT).take_while(|size| {
        bytes += size;
        bytes <= BATCH_BYTES
    });
    fitting.count().max(1)
}

impl<R: Request> Default for Batches<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<R: Request> Default for Waiting<R> {
    fn default() -> Self {
        Self {
            requests: Vec::new(),
            under_way: 0,
        }
    }
}
