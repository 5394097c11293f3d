//! `POST /api/sync/{service}/documents/batch`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sluice_jobs::documents::{DocumentHead, DocumentWrite};
use sluice_queue::JobId;
use sluice_store::documents::{Change, Conditions, Data, Expiry, Mutation, Version};
use utoipa::ToSchema;

use super::params::{PreferHeader, ServicePath};
use super::problem::of_write;
use super::queued::{head, submit};
use super::request::{DocumentBody, Writing, check_name, expiry, some_mutations};
use crate::http::problem::ErrorBody;
use crate::openapi::{DocumentErrors, schemas};
use crate::{ApiError, AppState};

/// Most writes of one batch.
const MAX_WRITES: usize = 100;

/// Writes to documents of one service.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    /// 1 to 100 writes. Those to one document are made in this order.
    #[schema(value_type = Vec<schemas::BatchWrite>, min_items = 1, max_items = 100)]
    writes: Vec<BatchWrite>,
}

/// One write: `op` and what the call of that name takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct BatchWrite {
    /// What to do.
    op: Op,
    /// The document's id. Only a `create` may leave it out.
    id: Option<String>,
    /// For `create`, `put` and `merge`: the content, or what of it changes.
    data: Option<Data>,
    /// For `mutate`: at least one mutation.
    #[serde(default, deserialize_with = "given_mutations")]
    mutations: Option<Vec<Mutation>>,
    /// The revision that the document must be at; not for `create`.
    expected_revision: Option<Version>,
    /// From when on it will be gone, in milliseconds since 1970; null for never. Not for `delete`
    /// and `restore`.
    #[serde(default, deserialize_with = "expiry")]
    expires_at: Expiry,
    /// 1 to 255 characters. For 24 hours, the same key with the same write of this document gets
    /// the first one's job.
    idempotency_key: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Create,
    Put,
    Merge,
    Mutate,
    Delete,
    Restore,
}

fn given_mutations<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Mutation>>, D::Error> {
    some_mutations(deserializer).map(Some)
}

impl BatchWrite {
    fn change(&mut self) -> Result<Change, ApiError> {
        let (data, mutations) = (self.data.take(), self.mutations.take());
        let op = self.op;
        let unwanted = [
            (
                "data",
                data.is_some() && !matches!(op, Op::Create | Op::Put | Op::Merge),
            ),
            ("mutations", mutations.is_some() && op != Op::Mutate),
            (
                "expectedRevision",
                self.expected_revision.is_some() && op == Op::Create,
            ),
            (
                "expiresAt",
                self.expires_at != Expiry::Keep && matches!(op, Op::Delete | Op::Restore),
            ),
        ];
        if let Some((field, _)) = unwanted.iter().find(|(_, is_there)| *is_there) {
            return Err(invalid(field, "is not for this op"));
        }
        let data = || data.ok_or_else(|| invalid("data", "is missing"));
        Ok(match op {
            Op::Create => Change::Create(data()?, self.expires_at),
            Op::Put => Change::Replace(data()?, self.expires_at),
            Op::Merge => Change::Merge(data()?, self.expires_at),
            Op::Mutate => Change::Mutate(
                mutations.ok_or_else(|| invalid("mutations", "is missing"))?,
                self.expires_at,
            ),
            Op::Delete => Change::Delete,
            Op::Restore => Change::Restore,
        })
    }

    async fn checked(
        mut self,
        state: &AppState,
        writing: &Writing,
    ) -> Result<DocumentWrite, ApiError> {
        let change = self.change()?;
        let key = self.idempotency_key.as_deref();
        let key = key.map(|key| writing.key_of_item(key)).transpose()?;
        let id = match (self.id, self.op) {
            (Some(id), _) => id,
            (None, Op::Create) => Writing::new_id(key.as_deref()),
            (None, _) => return Err(invalid("id", "is missing")),
        };
        check_name("id", &id)?;
        let conditions = Conditions::default();
        let write = Writing::write_under(key, change, self.expected_revision, conditions)?;
        state.documents.check_write(&write).await?;
        Ok(DocumentWrite { id, write })
    }
}

fn invalid(field: &str, rule: &str) -> ApiError {
    ApiError::InvalidRequest(format!("{field}: {rule}"))
}

/// The outcomes of the writes of a batch.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outcomes {
    /// One for each write, in the same order.
    outcomes: Vec<Outcome>,
}

/// The outcome of one write.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outcome {
    /// The status that the call by itself would have been answered with: 201 and 200, an error's,
    /// or 202 while the job goes on.
    #[schema(example = 200)]
    status: u16,
    /// The job that makes it; found at `/api/v1/jobs/{id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    job: Option<String>,
    /// The envelope without its data, when the write was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    document: Option<DocumentHead>,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::ErrorBody>, nullable = false)]
    error: Option<ErrorBody>,
}

impl Outcome {
    fn of(op: Op, job: Option<JobId>, made: Result<Option<DocumentHead>, ApiError>) -> Self {
        let status = match &made {
            Ok(Some(_)) if op == Op::Create => StatusCode::CREATED,
            Ok(Some(_)) => StatusCode::OK,
            Ok(None) => StatusCode::ACCEPTED,
            Err(error) => error.status(),
        };
        let error = made.as_ref().err().map(|error| ErrorBody(error.problem()));
        Self {
            status: status.as_u16(),
            job: job.map(|job| job.to_string()),
            document: made.ok().flatten(),
            error,
        }
    }
}

/// Write many documents
///
/// All writes are checked first: one that is wrong in itself is answered 400 or 413 with its place
/// in `write`, and nothing is done. Then each is a job, and those to one document are made in the
/// order given; it is not a transaction. The answer is 200 once all have ended, 202 when some go
/// on. As for the body, its limit is that of one document.
#[utoipa::path(
    post,
    path = "/api/sync/{service}/documents/batch",
    operation_id = "writeDocuments",
    tag = "documents",
    params(ServicePath, PreferHeader),
    request_body = Batch,
    responses(
        (status = 200, description = "What became of each write", body = Outcomes),
        (status = 202, description = "Some jobs go on", body = Outcomes),
        DocumentErrors,
    ),
    security(("token" = ["docs:write"])),
)]
pub(crate) async fn batch(
    State(state): State<AppState>,
    writing: Writing,
    DocumentBody(body): DocumentBody<Batch>,
) -> Result<Response, ApiError> {
    if !(1..=MAX_WRITES).contains(&body.writes.len()) {
        let rule = format!("must hold 1 to {MAX_WRITES} writes");
        return Err(invalid("writes", &rule));
    }
    let ops: Vec<Op> = body.writes.iter().map(|write| write.op).collect();
    let mut writes = Vec::with_capacity(ops.len());
    for (index, write) in body.writes.into_iter().enumerate() {
        let write = write.checked(&state, &writing).await;
        writes.push(write.map_err(|error| of_write(&error, index))?);
    }
    let jobs = submit(&state, &writing, writes).await?;

    let outcomes = join_all(ops.into_iter().zip(jobs).map(async |(op, job)| match job {
        Ok(job) => {
            let made = match writing.wait(&state, &job).await {
                Ok(Some(finished)) => head(&job, finished).map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            Outcome::of(op, Some(job), made)
        }
        Err(error) => Outcome::of(op, None, Err(error)),
    }))
    .await;
    let status = match outcomes.iter().any(|it| it.status == StatusCode::ACCEPTED) {
        true => StatusCode::ACCEPTED,
        false => StatusCode::OK,
    };
    let applied = writing.applied(&state);
    Ok((status, applied, Json(Outcomes { outcomes })).into_response())
}
