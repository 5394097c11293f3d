//! Group commit: what many callers ask of one queue at the same time goes to Valkey as one script.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{FromRedisValue, ParsingError, RedisError, RedisResult, Value, from_redis_value};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::QueueError;
use crate::keys::{BATCH_BYTES, BATCH_LIMIT};

/// How many scripts of one queue are under way at a time: while the server works on one, the next
/// one is prepared.
pub(crate) const UNDER_WAY: usize = 2;

/// Something that can be asked for together with others of its kind.
pub(crate) trait Request: Sized + Send + Sync + 'static {
    type Answer: Send;
    /// What all requests have in common: where they wait, and the way to Valkey.
    type Shared: Send + Sync + 'static;

    /// Whether a request that finds nothing under way is sent by its caller. That is the quickest
    /// way for one of them: no other task has to be woken first. Else a task sends it, and takes
    /// along what others ask until it runs.
    fn at_once(shared: &Self::Shared) -> bool;

    /// Where requests of this kind wait.
    fn group(shared: &Self::Shared) -> &GroupCommit<Self>;

    /// About how many bytes it has.
    fn size(&self) -> usize;

    /// Asks for all of them; the answers are in their order.
    fn send(
        shared: &Self::Shared,
        queue: &str,
        batch: &[Self],
    ) -> impl Future<Output = RedisResult<Vec<Self::Answer>>> + Send;
}

/// Collects requests for as long as earlier ones are under way, and no longer.
pub(crate) struct GroupCommit<R: Request>(Mutex<HashMap<String, Waiting<R>>>);

struct Waiting<R: Request> {
    requests: Vec<(R, oneshot::Sender<RedisResult<R::Answer>>)>,
    under_way: usize,
}

/// Sends a request together with others, and returns its answer.
pub(crate) async fn submit<R: Request>(
    shared: &Arc<R::Shared>,
    queue: &str,
    request: R,
) -> Result<R::Answer, QueueError> {
    let answer = match R::group(shared).admit(queue, request, R::at_once(shared)) {
        Admitted::Alone(request) => {
            let _turn = Turn::<R>(shared, queue, PhantomData);
            let answers = R::send(shared, queue, std::slice::from_ref(&request)).await?;
            let answer = answers.into_iter().next();
            return answer.ok_or_else(|| QueueError::Malformed("no answer".into()));
        }
        Admitted::First(answer) => {
            tokio::spawn(send_all::<R>(shared.clone(), queue.to_owned()));
            answer
        }
        Admitted::Waiting(answer) => answer,
    };
    match answer.await {
        Ok(answer) => Ok(answer?),
        // The runtime is going down.
        Err(_) => Err(QueueError::Timeout("a batch")),
    }
}

/// The right to send to a queue. It passes to the requests that came meanwhile, also when it is
/// dropped halfway.
struct Turn<'a, R: Request>(&'a Arc<R::Shared>, &'a str, PhantomData<R>);

impl<R: Request> Drop for Turn<'_, R> {
    fn drop(&mut self) {
        let &mut Self(shared, queue, _) = self;
        // Outside of a runtime no caller waits for an answer.
        if R::group(shared).end_turn(queue)
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(send_all::<R>(shared.clone(), queue.to_owned()));
        }
    }
}

/// Sends what waits, batch by batch, until nothing is left.
async fn send_all<R: Request>(shared: Arc<R::Shared>, queue: String) {
    while let Some((requests, callers)) = R::group(&shared).next(&queue) {
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

/// Who sends a request.
enum Admitted<R: Request> {
    /// Its caller has a turn and sends it.
    Alone(R),
    /// Its caller has a turn and has it sent, with those who come meanwhile.
    First(oneshot::Receiver<RedisResult<R::Answer>>),
    /// A caller that has a turn sends it.
    Waiting(oneshot::Receiver<RedisResult<R::Answer>>),
}

type Batch<R> = (
    Vec<R>,
    Vec<oneshot::Sender<RedisResult<<R as Request>::Answer>>>,
);

impl<R: Request> GroupCommit<R> {
    fn admit(&self, queue: &str, request: R, at_once: bool) -> Admitted<R> {
        let mut queues = self.lock();
        let waiting = match queues.get_mut(queue) {
            Some(waiting) => waiting,
            None => queues.entry(queue.to_owned()).or_default(),
        };
        let has_turn = waiting.under_way < UNDER_WAY;
        waiting.under_way += usize::from(has_turn);
        if has_turn && at_once {
            return Admitted::Alone(request);
        }
        let (sender, answer) = oneshot::channel();
        waiting.requests.push((request, sender));
        if has_turn {
            Admitted::First(answer)
        } else {
            Admitted::Waiting(answer)
        }
    }

    /// Ends a turn, unless there is something to send.
    fn end_turn(&self, queue: &str) -> bool {
        let mut queues = self.lock();
        let Some(waiting) = queues.get_mut(queue) else {
            return false;
        };
        let some_wait = !waiting.requests.is_empty();
        waiting.under_way -= usize::from(!some_wait);
        some_wait
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

/// What a script answers to several requests: 1 when the answer to all of them is the usual one,
/// else one for each.
pub(crate) enum Answers<A> {
    AllUsual,
    Each(Vec<A>),
}

impl<A: FromRedisValue> FromRedisValue for Answers<A> {
    fn from_redis_value(answers: Value) -> Result<Self, ParsingError> {
        match answers {
            Value::Int(1) => Ok(Self::AllUsual),
            answers => from_redis_value(answers).map(Self::Each),
        }
    }
}

impl<A> Answers<A> {
    /// One for each of `count` requests.
    pub fn each(self, count: usize, usual: impl Fn() -> A) -> Vec<A> {
        match self {
            Self::AllUsual => std::iter::repeat_with(usual).take(count).collect(),
            Self::Each(answers) => answers,
        }
    }
}

/// How many requests of these sizes one script takes: a bounded number and size, so that it does
/// not hold up the server.
pub(crate) fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fitting = sizes.take(BATCH_LIMIT).take_while(|size| {
        bytes += size;
        bytes <= BATCH_BYTES
    });
    fitting.count().max(1)
}

impl<R: Request> Default for GroupCommit<R> {
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
