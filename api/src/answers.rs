//! The bodies of successful answers, as a client reads them; those of jobs are in `sluice_jobs`.

pub mod filesync;
pub mod operators;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::openapi::schemas;

/// A file's metadata. Fields beyond these pass through from Convex unchanged.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The file's id.
    pub id: String,
    /// Its name, encrypted.
    pub filename_enc: Option<String>,
    /// Its size, in bytes.
    pub size: Option<f64>,
    /// Its owner.
    pub user: String,
    /// Its media type.
    pub mime_type: Option<String>,
    /// The key it is encrypted with, itself encrypted. Not part of listings.
    pub dek_enc: Option<String>,
    /// Its previews: `mobile`, `web` and `webPre`.
    pub thumbs: Option<Value>,
    /// When it was uploaded.
    pub uploaded_date: Option<Value>,
    /// All else that Convex has of it.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// The outcomes of reading many entries.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryBatch {
    /// One for each id, in the same order.
    pub entries: Vec<EntryOutcome>,
}

/// The outcome of reading one of many entries.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryOutcome {
    /// The id that was asked for.
    pub id: String,
    /// The status that the call by itself would have been answered with.
    #[schema(example = 200)]
    pub status: u16,
    /// Where the entry came from: `bulk` (a synced set), `hit` (cached by itself) or `miss`
    /// (Convex). Left out when there is none.
    #[serde(rename = "x-cache", default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "hit")]
    pub x_cache: Option<String>,
    /// The entry; left out when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub entry: Option<Entry>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::ErrorBody>, nullable = false)]
    pub error: Option<Value>,
}

/// One page of a user's cached entries, without their `dekEnc`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryPage {
    /// Most active first, then newest, then those cached one by one.
    pub entries: Vec<Entry>,
    /// Gives the next page; null on the last one.
    pub cursor: Option<String>,
    /// Cached entries of this user.
    pub total: u64,
    /// Grows with every sync. A cursor holds within one generation.
    pub generation: u64,
}

/// A document at one revision. Times are milliseconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// The service it belongs to.
    #[schema(example = "session")]
    pub service: String,
    /// Its id within the service.
    #[schema(example = "doc_5b0c51d6c1f74f0e9c4b6a52f3d8e711")]
    pub id: String,
    /// From 1; every write counts it up by one. Behind a former document of this id it goes on for
    /// a day after that one's end.
    pub revision: u64,
    /// Its content.
    #[schema(value_type = Option<BTreeMap<String, Value>>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Map<String, Value>>,
    /// When it was created.
    pub created_at: u64,
    /// When it was last written.
    pub updated_at: u64,
    /// True in the answer to a write that is sent again once its content is not kept any more:
    /// `data` is left out then, and only then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub data_omitted: bool,
    /// True when it is deleted and can be restored; else left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// From when on it will be gone, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub expires_at: Option<u64>,
}

/// One page of a service's documents.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DocumentPage {
    /// In the order of their creation, without deleted ones.
    pub documents: Vec<Document>,
    /// Gives the next page; null on the last one.
    pub cursor: Option<String>,
}

/// A job. Times are milliseconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its id.
    #[schema(example = "sync_01jd3v3s2n3wq5s9m1x6r0e8kz")]
    pub id: String,
    /// The queue it is in.
    #[schema(example = "sync")]
    pub queue: String,
    /// Where it is in its life; `completed`, `cancelled` and `dead` are final.
    #[schema(value_type = schemas::JobState, example = "running")]
    pub state: String,
    /// The version of its payload's shape.
    pub version: u32,
    /// What it was asked to do.
    pub payload: Value,
    /// Whose it is.
    #[schema(required = true)]
    pub user: Option<String>,
    /// Its unique key: of the jobs that have one in common, one waits or runs at a time.
    #[schema(required = true)]
    pub unique_key: Option<String>,
    /// The batch that it is counted in.
    #[schema(required = true)]
    pub batch: Option<String>,
    /// The batch whose callback it is.
    #[schema(required = true)]
    pub callback_of: Option<String>,
    /// The job before it in its chain.
    #[schema(required = true)]
    pub previous: Option<String>,
    /// The job behind it in its chain.
    #[schema(required = true)]
    pub next: Option<String>,
    /// What the job before it, or the batch, left it.
    #[schema(required = true)]
    pub input: Option<Value>,
    /// Its group: the jobs of one run one after the other.
    #[schema(required = true)]
    pub group: Option<String>,
    /// From 0, which runs first, to 9.
    pub priority: u8,
    /// Times it was begun.
    pub attempts: u32,
    /// Times it may be begun before it is dead; null: it is tried until it succeeds.
    #[schema(required = true)]
    pub max_attempts: Option<u32>,
    /// How long it waits between its attempts, if it says so itself.
    #[schema(required = true)]
    pub backoff: Option<Value>,
    /// Leases in a row that were lost with the worker; left out when 0. After a few the job is
    /// dead, whatever its attempts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub losses: u32,
    /// When it was enqueued.
    pub created_at: u64,
    /// When it was or is due.
    pub run_at: u64,
    /// When its last attempt began.
    #[schema(required = true)]
    pub started_at: Option<u64>,
    /// When it reached its final state.
    #[schema(required = true)]
    pub finished_at: Option<u64>,
    /// Who runs or ran it last.
    #[schema(required = true)]
    pub worker: Option<String>,
    /// Whether it was asked to stop while it ran.
    pub cancel_requested: bool,
    /// How far it is, such as entries and bytes so far.
    #[schema(required = true)]
    pub progress: Option<Value>,
    /// What it answered.
    #[schema(required = true)]
    pub result: Option<Value>,
    /// Why it refused, as `{"error", "message"}`.
    #[schema(required = true)]
    pub error: Option<Value>,
    /// What its failed attempts failed with; the oldest are dropped when there is too much.
    pub errors: Vec<JobError>,
    /// The last lines that it logged, oldest first.
    pub log: Vec<JobLogLine>,
    /// How many lines before them are not kept any more.
    pub log_dropped: u64,
    /// The trace it belongs to (W3C Trace Context).
    #[schema(required = true)]
    pub trace: Option<String>,
    /// What of the job cannot be read as it is kept, if anything; left out else.
    #[serde(default)]
    pub damage: Option<String>,
}

/// What went wrong in one attempt of a job.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What.
    pub message: String,
}

/// A line that a job logged.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobLogLine {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// In which attempt, from 1.
    pub attempt: u32,
    /// How much it matters.
    #[schema(value_type = schemas::LogLevel)]
    pub level: String,
    /// What it says.
    pub text: String,
}

/// Which of the parts that the API needs answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// `ok` when all are.
    #[schema(example = "ok")]
    pub status: String,
    /// Valkey: `ok`, or why not: `unavailable`, `busy`, `not_writable`, `out_of_memory`,
    /// `access_denied`. Entries that are cached are served also when it cannot be written.
    #[schema(example = "ok")]
    pub valkey: String,
    /// Convex: `ok` or `unavailable`.
    #[schema(example = "ok")]
    pub convex: String,
    /// How the worker that follows Convex is doing: `ok`, `loading`, `behind`, `failing`,
    /// `unattended`, or `unavailable` when that is not known. The API is ready without it.
    #[schema(example = "ok")]
    pub tail: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The body of a 202: the job goes on, and is found at the `Location`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The id of the job.
    #[schema(example = "sync_01jd3v3s2n3wq5s9m1x6r0e8kz")]
    pub job: String,
}
