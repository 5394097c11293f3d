//! The one thread that writes.
//!
//! Requests that arrive while a commit is on its way to the disk wait together, and share the next
//! one: each is a transaction with a timestamp of its own, and all of them are durable by one
//! flush. Housekeeping goes along, and goes on while nobody asks.

use std::iter;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::error::RequestError;
use super::housekeeping;
use super::store::{State, Store};
use super::transaction::Transaction;

/// How many requests may wait for the writer, and how many of them one commit takes.
const QUEUE: usize = 256;
/// Rows of housekeeping that go with a commit, besides as many as it wrote.
const BASE_ROWS: usize = 256;
/// Rows of housekeeping at a time while no request waits. One that arrives waits for them.
const IDLE_ROWS: usize = 2048;
/// How often a store without requests looks for what has become too old.
const IDLE_PAUSE: Duration = Duration::from_secs(60);

/// What a request does; returns how to answer it once the commit is durable, or has failed.
type Job = Box<dyn FnOnce(&mut Batch) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), RequestError>) + Send>;

/// Hands requests to the writing thread. Dropping it lets the thread finish what was handed over,
/// and waits for that.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// `retention` is how far back anything can be read.
    pub fn start(
        store: Arc<Store>,
        db: Connection,
        retention: Duration,
    ) -> std::io::Result<Writer> {
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("convex-writer".to_owned())
            .spawn(move || {
                if let Err(error) = run(&store, db, inbox, retention) {
                    tracing::error!(%error, "the embedded store cannot write");
                }
            })?;
        Ok(Writer {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Runs `operation` as a transaction. When this returns `Ok`, it is on the disk and visible;
    /// after an error, nothing changed.
    pub async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Transaction) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |batch| {
            let outcome = batch.transact(operation);
            Box::new(move |committed| {
                // There is no receiver any more when the client went away; what it asked for is done all
                // the same.
                let _ = reply.send(committed.and(outcome));
            })
        });
        let stopped = || RequestError::internal("The database is closed.");
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(job).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The transactions of one commit.
struct Batch<'a> {
    db: &'a Connection,
    state: State,
    /// Set when a transaction could not be written completely: the whole commit is given up.
    broken: Option<RequestError>,
}

impl Batch<'_> {
    fn transact<T>(
        &mut self,
        operation: impl FnOnce(&mut Transaction) -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        self.check()?;
        let mut transaction = Transaction::new(self.db, self.state.clone(), now());
        let value = operation(&mut transaction)?;
        match transaction.flush() {
            Ok(state) => self.state = state,
            Err(error) => self.broken = Some(error),
        }
        Ok(value)
    }

    /// Whether the commit can still come about. SQLite rolls back everything when the disk fails or
    /// is full: what is written afterwards would be on the disk at once, and by itself.
    fn check(&mut self) -> Result<(), RequestError> {
        if self.broken.is_none() && self.db.is_autocommit() {
            self.broken = Some(RequestError::unusable());
        }
        self.broken.clone().map_or(Ok(()), Err)
    }
}

/// The wall clock (ns since the epoch).
pub(super) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The time this long ago (ns since the epoch).
pub(super) fn past(age: Duration) -> i64 {
    now().saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX))
}

fn run(
    store: &Store,
    mut db: Connection,
    mut inbox: mpsc::Receiver<Job>,
    retention: Duration,
) -> std::io::Result<()> {
    let clock = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let mut jobs = Vec::with_capacity(QUEUE);
    // There may be work left over from an earlier life.
    let mut pause = Duration::ZERO;
    loop {
        let received =
            clock.block_on(async { timeout(pause, inbox.recv_many(&mut jobs, QUEUE)).await });
        let housekeeping = match received {
            Ok(0) => return Ok(()),
            Ok(_) => serve(store, &mut db, &mut jobs, retention),
            Err(_) => commit(store, &mut db, iter::empty(), &mut Vec::new(), retention),
        };
        pause = match housekeeping {
            Ok(More(true)) => Duration::ZERO,
            _ => IDLE_PAUSE,
        };
    }
}

/// Commits what the requests ask for, and answers them.
fn serve(
    store: &Store,
    db: &mut Connection,
    jobs: &mut Vec<Job>,
    retention: Duration,
) -> Result<More, RequestError> {
    let start = Instant::now();
    metrics::histogram!("sluice_convex_embedded_commit_transactions").record(jobs.len() as f64);
    let mut answers = Vec::with_capacity(jobs.len());
    let committed = commit(store, db, jobs.drain(..), &mut answers, retention);
    // Those that a failed begin kept from running are answered by their reply being dropped.
    let outcome = if committed.is_ok() { "ok" } else { "failed" };
    metrics::counter!("sluice_convex_embedded_commits_total", "outcome" => outcome).increment(1);
    metrics::histogram!("sluice_convex_embedded_commit_seconds").record(start.elapsed());
    for answer in answers {
        answer(match &committed {
            Ok(_) => Ok(()),
            Err(error) => Err(error.clone()),
        });
    }
    committed
}

/// Whether there is more housekeeping to do.
struct More(bool);

fn commit(
    store: &Store,
    db: &mut Connection,
    jobs: impl Iterator<Item = Job>,
    answers: &mut Vec<Answer>,
    retention: Duration,
) -> Result<More, RequestError> {
    let sql = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let before = store.state();
    let changes = sql.total_changes();
    let mut batch = Batch {
        db: &sql,
        state: before.as_ref().clone(),
        broken: None,
    };
    for job in jobs {
        answers.push(job(&mut batch));
    }
    batch.check()?;
    let mut state = batch.state;
    let rows = match usize::try_from(sql.total_changes() - changes) {
        _ if answers.is_empty() => IDLE_ROWS,
        written => BASE_ROWS + written.unwrap_or(0),
    };
    let more = housekeeping::step(&sql, &mut state, past(retention), rows)?;
    state.save(&sql, &before)?;
    sql.commit()?;
    store.publish(state);
    Ok(More(more))
}
