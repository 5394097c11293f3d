//! What operators send.

use utoipa::ToSchema;

/// The name of a queue, or of a schedule.
#[derive(ToSchema)]
#[schema(pattern = "^[a-z0-9-]{1,64}$", example = "sync")]
pub(crate) struct QueueName(String);

/// Where a search of jobs goes on.
#[derive(ToSchema)]
#[schema(
    pattern = r"^[a-z0-9-]{1,64}\.dead\.([0-9]{13}\.[0-7][0-9a-hjkmnp-tv-z]{25}|\.)$",
    example = "sync.dead.1767225600000.01jd3v3s2n3wq5s9m1x6r0e8kz"
)]
pub(crate) struct JobsCursor(String);

/// An action of an operator.
#[derive(ToSchema)]
#[schema(
    pattern = "^[0-7][0-9a-hjkmnp-tv-z]{25}$",
    example = "01jd3v3s2n3wq5s9m1x6r0e8kz"
)]
pub(crate) struct ActionId(String);

/// Which time is looked back at.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum HistoryPeriod {
    Hour,
    Day,
}

/// What is done to jobs.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum JobOperation {
    Retry,
    Run,
    Cancel,
    Delete,
}

/// Whether something is paused, or goes on.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum PauseOrResume {
    Pause,
    Resume,
}

/// What a worker is asked to do.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum WorkerSignal {
    Quiet,
    Resume,
    Stop,
}

/// How many jobs start in a time.
#[derive(ToSchema)]
pub(crate) struct QueueRate {
    /// In fixed windows, in any window, or evenly from a bucket of tokens.
    kind: RateKind,
    /// How many.
    #[schema(minimum = 1, maximum = 10000)]
    starts: u32,
    /// In which time, in milliseconds.
    #[schema(minimum = 1, maximum = 2678400000_i64)]
    per_ms: u64,
    /// How many at once after a pause, from a bucket.
    #[schema(minimum = 1, maximum = 1000000, nullable = false)]
    burst: Option<u32>,
}

/// How starts are counted.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum RateKind {
    Fixed,
    Sliding,
    Bucket,
}
