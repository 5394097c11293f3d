//! Every key, structure and time-out of a queue.
//!
//! All keys of queue `q` start with its root `sq1:{q}:` (`1` is the version of this layout, the
//! braces make every key of one queue lie in one cluster slot). `job` stands for the ULID part of a
//! job id. Times are milliseconds of the server's clock since 1970.
//!
//! | key after the root | structure | holds |
//! |---|---|---|
//! | `job:<job>` | hash | the job: `payload seat`, and where it applies `has state version priority max_attempts attempts created_at run_at losses user turn label unique unique_in group backoff trace run finished_at progress checkpoint result error errors log logged log_batch batch callback_of previous next input delay stopped cancel keep_until deferred` |
//! | `waiting` | zset, score = when enqueued | jobs that wait for the one before them in a chain, or for the end of a batch |
//! | `batch:<batch>` | hash `created_at closed_at ended_at succeeded_at jobs completed refused dead cancelled on_end on_success`, TTL while it is open and after its end | a batch: its counts, and the jobs that are called back |
//! | `scheduled` | zset, score = when due | jobs with a delay or a time to run at |
//! | `available` | zset, score = priority × 9·10¹⁴ + seat | jobs that a worker may take, in the order in which they are taken |
//! | `held` | zset, score = seat | jobs that wait for another one of their group; their state is `available` too |
//! | `newer` | zset, score = payload version | jobs that wait for a worker that knows their version; their state is `available` too |
//! | `crowded` | zset, score as `available` | jobs that wait for others of their user to start, under a limit per user to end; their state is `available` too |
//! | `crowded:<user>` | zset, score as `available` | those of one user, in the order in which they join the line again |
//! | `turns:<user>` | set | without a limit per user, the user's jobs that are in line and of the usual priority; the user is a job's `turn`, if it has one |
//! | `places:<user>` | set | under a limit per user, the user's jobs that are in line or run |
//! | `throttled` | zset, score as `available` | jobs that wait until the rate lets their user start another one; their state is `available` too |
//! | `throttled:<user>` | zset, score as `available` | those of one user, in the order in which they join the line again |
//! | `throttled_users` | zset, score = when their next job may start | the users whom the rate holds back |
//! | `started:<rate>…` | by kind of rate, see `lua/queue/rates.lua`; TTL until it has no more to say | the starts that a rate (of a user) has counted |
//! | `running` | zset, score = when the lease runs out | leased jobs |
//! | `retrying` | zset, score = when due | failed jobs that wait for their next attempt |
//! | `completed`, `cancelled`, `dead` | zset, score = when finished | finished jobs, bounded by [`Retention`] |
//! | `group:<group>` | zset, score = seat | the unfinished jobs of a group that are in line; the first one is offered, running or retrying, the others are held |
//! | `unique:<key>`, `unique:<key>@<period>` | string, with a TTL once the job has ended or for a period | the job that counts as the one with this unique key |
//! | `idempotency:<key>` | hash `job fingerprint`, TTL [`IDEMPOTENCY`] | the job that was enqueued with this idempotency key |
//! | `minute:<n>`, `tens:<n>` | hash of counts by the fields of `lua/queue/marks.lua`, TTL 70 min and 25 h | what happened in a minute, and in ten, counted since 1970 |
//! | `action:<action>` | set, TTL [`UNDO`] | the jobs that an operator cancelled or deleted in one action |
//! | `deleted:<job>` | hash as `job:<job>`, TTL [`UNDO`] | a job that had ended and was deleted, for as long as that can be undone |
//! | `workers` | zset, score = when last seen | worker instances; a live one shows itself at each fetch |
//! | `meta` | hash | `fetched_at`; `kept_until`: the last `keep_until` of any job; `rescue_after`: no lease is taken away before; `paused_at`, while the queue is paused; `limit`, `user_limit`, `rate`, `user_rate` (0: there was one); `reconciled_at`, `reconcile_cursor`, `swept_list`, `swept_cursor`; `lease`: the longest that a worker asked for; `rolled_minute`: minutes before it are in their tens; `next_at`: nothing falls due before; `watched_until`: somebody watches a job |
//! | `events` | sharded channel | `wake`; `moved <job>…`, when their state or progress changed and somebody watches any; `ended <job>…`; `done <job>…`, those of them that completed with the result null; `cancel <job>` |
//!
//! A job's `seat` is its place in line: when it joined, in microseconds since the start of 2026 (so
//! that a score holds it exactly until 2054). Most jobs are added, started and completed, and their
//! hash has no more than that takes: `created_at` is left out where the seat says it, and `state`
//! on this way. A job without it is completed when it has a `finished_at`, running when it has a
//! `run`, and else available. `attempts` counts those that did not complete the job. `has` says by
//! letters which of the rarer fields a job has, or `*`: any.
//!
//! Outside of any queue's slot: `sq1:queues`, a set with the name of every queue that was used, and
//! `sq1:probe`, a string that shows whether the server takes writes. What belongs to no queue has
//! the root `sq1:{*}:`, and a slot of its own:
//!
//! | key after that root | structure | holds |
//! |---|---|---|
//! | `processes` | zset, score = when last seen | the processes that run workers |
//! | `process:<process>` | hash `about signal`, TTL [`PROCESS_GONE`] | what a process says of itself as JSON, and what it is asked to do |
//! | `schedules` | hash, name → JSON | the definitions of schedules |
//! | `schedule:<name>` | hash `passed tick job left_out paused_at` | until when ticks have passed, and the last one with its job |
//! | `audit` | zset of at most [`AUDIT_LIMIT`], score = when | the actions of operators |
//! | `audit:<action>` | hash `at who via what target count left ended_at error undo undone_by` | one of them |
//!
//! A job's hash goes when retention drops it, or when the last idempotency key that leads to it
//! runs out, if that is later.

use std::fmt::Write;
use std::time::Duration;

/// The set of all queue names.
pub(crate) const QUEUES: &str = "sq1:queues";

/// The root of what belongs to no queue; no queue can have that name.
pub(crate) const COMMON: &str = "sq1:{*}:";

/// How long a process that does not show itself is listed.
pub const PROCESS_GONE: Duration = Duration::from_secs(30);

/// How many actions of operators the audit log keeps.
pub const AUDIT_LIMIT: usize = 10_000;

/// For how long an action can be undone.
pub const UNDO: Duration = Duration::from_secs(600);

/// How many schedules there may be.
pub const SCHEDULES_LIMIT: usize = 200;

/// How long a minute's counts are kept, and those of ten minutes.
const MINUTE_KEPT: Duration = Duration::from_secs(70 * 60);
const TENS_KEPT: Duration = Duration::from_secs(25 * 3600);

/// A key that a process writes to learn whether the server takes writes. It expires.
pub(crate) const PROBE: &str = "sq1:probe";

/// A channel on which nothing is published: a subscription to it shows whether notifications work.
pub(crate) const PROBE_EVENTS: &str = "sq1:probe:events";

/// How many outages of Valkey a job outlasts without an attempt counted. More of them may be its
/// own doing.
pub const OUTAGES: u32 = 100;

/// Places in line for each priority: the tenth one still fits a double exactly.
const SEATS: u64 = 900_000_000_000_000;

/// The time from which places count: the start of 2026, in ms since 1970.
const SEATS_SINCE: u64 = 1_767_225_600_000;

/// The payload version, priority and attempts that a job has unless it says otherwise. Such a job's
/// hash does without them.
pub(crate) const VERSION: u32 = 1;
pub(crate) const PRIORITY: u8 = 5;
pub(crate) const MAX_ATTEMPTS: u32 = 8;

/// How long an idempotency key answers with its first job.
pub const IDEMPOTENCY: Duration = Duration::from_secs(24 * 3600);

/// The largest payload of a job, in bytes, unless
/// [`QueueConfig::payload_limit`](crate::QueueConfig::payload_limit) says otherwise.
pub const PAYLOAD_LIMIT: usize = 256 * 1024;

/// How many jobs that have not ended a queue takes, unless
/// [`QueueConfig::backlog_limit`](crate::QueueConfig::backlog_limit) says otherwise.
pub const BACKLOG_LIMIT: usize = 1_000_000;

/// The largest result of a job, or error of a refused one, in bytes.
pub const RESULT_LIMIT: usize = 256 * 1024;

/// The largest checkpoint, in bytes.
pub const CHECKPOINT_LIMIT: usize = 64 * 1024;

/// The largest progress value, in bytes.
pub const PROGRESS_LIMIT: usize = 16 * 1024;

/// The longest unique key, idempotency key, fingerprint, group, user, label and trace, in bytes.
pub const NAME_LIMIT: usize = 512;

/// The longest message kept of one failed attempt, in bytes; longer ones are cut.
pub const MESSAGE_LIMIT: usize = 2 * 1024;

/// How many lines a job's log keeps; the oldest go first.
pub const LOG_LINES: usize = 200;

/// How many bytes a job's log keeps, as JSON; the oldest lines go first.
pub const LOG_LIMIT: usize = 32 * 1024;

/// The longest line of a log, in bytes; longer ones are cut.
pub const LINE_LIMIT: usize = 1024;

/// How many jobs a [chain](crate::Queues::enqueue_chain) has at most.
pub const CHAIN_LIMIT: usize = 100;

/// How long a batch is kept after it has ended, or while it is open and no job joins.
const BATCH_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

/// The longest [delay](crate::NewJob::delay): the 1,000 years from 1970 to 2970, when the last
/// [time to run at](crate::NewJob::run_at) ends. The scores of sorted sets hold such times exactly.
pub const DELAY_LIMIT: Duration = Duration::from_secs(365_243 * 24 * 3600);

/// How long changes are published after a watcher of a job asked for it, which is done three
/// times as often.
pub(crate) const WATCH: Duration = Duration::from_secs(30);

/// The longest pause between two attempts.
pub const PAUSE_LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How many pauses a [listed backoff](crate::Backoff::Listed) has at most.
pub const PAUSES_LIMIT: usize = 64;

/// The longest period in which a job [is unique](crate::Unique::per).
pub const PERIOD_LIMIT: Duration = Duration::from_secs(31 * 24 * 3600);

/// The largest number of starts of a [rate](crate::Rate), and of its burst.
pub const RATE_LIMIT: u32 = 1_000_000;

/// The largest number of starts in a [sliding window](crate::Rate::sliding_window).
pub const SLIDING_LIMIT: u32 = 10_000;

/// The `max_attempts` of a job that is tried until it succeeds.
pub(crate) const UNLIMITED: u32 = u32::MAX;

/// How much is kept of what went wrong with one job, in bytes; the oldest entries go first.
const ERRORS_LIMIT: usize = 16 * 1024;

/// How many jobs one fetch promotes, retries, rescues and forgets at most, each.
const CHUNK: usize = 100;

/// How many jobs of one user are in line at a time, unless a limit per user says otherwise.
const TURN: usize = 1;

/// A mark further in the future than this was made before the server's clock was set back.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// The least time between two steps of the reconciler, over all workers of a queue.
const RECONCILE: Duration = Duration::from_secs(1);

/// How many of the server's keys one step of the reconciler passes.
const SCAN_COUNT: usize = 500;

/// How many jobs one script adds, or ends the runs of, at most.
pub(crate) const BATCH_LIMIT: usize = 200;

/// How many bytes of payload one script adds, or of results it takes, at most, unless a single job
/// has more.
pub(crate) const BATCH_BYTES: usize = 1024 * 1024;

/// How many jobs one fetch leases at most.
pub(crate) const FETCH_LIMIT: usize = 500;

/// How many jobs one page of a list has at most.
pub const PAGE_LIMIT: u64 = 500;

/// A worker that was not seen for this long counts as gone.
const WORKER_GONE: Duration = Duration::from_secs(10);

/// How long the answer to a heartbeat may take; less than the shortest sensible lease.
pub(crate) const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long opening a connection may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often waiters and watchers look for themselves, should a notification get lost.
pub(crate) const SLOW_POLL: Duration = Duration::from_secs(1);

/// How long a worker tries to record the end of a run before it leaves the job to be rescued.
pub(crate) const FINISH_PATIENCE: Duration = Duration::from_secs(60);

/// How long a handler has, after its cancellation token fired, to end by itself. Then it is
/// dropped.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// The least time between two progress updates of one job, and between two batches of lines of its
/// log.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// How many finished jobs of one state are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// At most this many, for a moment up to a hundredth more; the oldest go first.
    pub count: u64,
    /// At most this long after the job ended.
    pub age: Duration,
}

/// How long finished jobs are kept, per queue. A job that an idempotency key leads to can still be
/// read for as long as the key lives, but is not listed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Completed (and refused) jobs: 10,000, 1 hour.
    pub completed: Keep,
    /// Cancelled jobs: 10,000, 1 day.
    pub cancelled: Keep,
    /// Dead letters: 100,000, 14 days.
    pub dead: Keep,
}

impl Default for Retention {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            completed: Keep {
                count: 10_000,
                age: HOUR,
            },
            cancelled: Keep {
                count: 10_000,
                age: DAY,
            },
            dead: Keep {
                count: 100_000,
                age: 14 * DAY,
            },
        }
    }
}

/// Fields that few jobs have, and the letters by which a job's field `has` says so.
pub(crate) const FIELDS: [(char, &str); 15] = [
    ('v', "version"),
    ('u', "user"),
    ('w', "turn"),
    ('m', "max_attempts"),
    ('b', "backoff"),
    ('t', "trace"),
    ('g', "group"),
    ('q', "unique"),
    ('a', "batch"),
    ('n', "next"),
    ('i', "input"),
    ('c', "checkpoint"),
    ('r', "run_at"),
    ('k', "attempts"),
    ('s', "state"),
];

/// The constants that the functions use, as Lua. They are put in front of `lua/queue/head.lua`.
pub(crate) fn lua_constants(retention: &Retention) -> String {
    let mut lua = String::from("local FIELDS = {");
    // Writing to a string cannot fail.
    for (letter, field) in FIELDS {
        let _ = write!(lua, " {letter} = '{field}',");
    }
    lua.push_str(" }\nlocal KEEP = {\n");
    for (state, keep) in [
        ("completed", retention.completed),
        ("cancelled", retention.cancelled),
        ("dead", retention.dead),
    ] {
        let (count, age) = (keep.count, keep.age.as_millis());
        let _ = writeln!(lua, "  {state} = {{ count = {count}, age = {age} }},");
    }
    let _ = writeln!(
        lua,
        "}}\nlocal SEATS = {SEATS}\nlocal SEATS_SINCE = {SEATS_SINCE}\nlocal PRIORITY = {PRIORITY}\nlocal MAX_ATTEMPTS = {MAX_ATTEMPTS}\nlocal IDEMPOTENCY_MS = {}\nlocal ERRORS_BYTES = {ERRORS_LIMIT}\nlocal CHUNK = {CHUNK}\nlocal WORKER_MS = {}\nlocal RECONCILE_MS = {}\nlocal SCAN_COUNT = {SCAN_COUNT}\nlocal LOG_LINES = {LOG_LINES}\nlocal LOG_BYTES = {LOG_LIMIT}\nlocal BATCH_MS = {}\nlocal WATCH_MS = {}\nlocal OUTAGES = {OUTAGES}\nlocal TURN = {TURN}\nlocal CLOCK_SLACK_MS = {}\nlocal MINUTE_MS = {}\nlocal TENS_MS = {}\nlocal UNDO_MS = {}\nlocal PROCESS_MS = {}",
        IDEMPOTENCY.as_millis(),
        WORKER_GONE.as_millis(),
        RECONCILE.as_millis(),
        BATCH_KEPT.as_millis(),
        WATCH.as_millis(),
        CLOCK_SLACK.as_millis(),
        MINUTE_KEPT.as_millis(),
        TENS_KEPT.as_millis(),
        UNDO.as_millis(),
        PROCESS_GONE.as_millis(),
    );
    lua
}

/// The root of a queue's keys.
pub(crate) fn root(queue: &str) -> String {
    ["sq1:{", queue, "}:"].concat()
}

/// When a place in line was given out, in milliseconds since 1970.
pub(crate) fn time_of(seat: u64) -> u64 {
    SEATS_SINCE + seat / 1000
}

/// The channel of a queue's notifications.
pub(crate) fn events_channel(queue: &str) -> String {
    root(queue) + "events"
}
