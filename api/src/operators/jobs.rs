//! `/api/v1/jobs`: jobs that are searched, counted, and acted on.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use sluice_queue::{JobId, JobQuery, Operation, Place, State as JobState};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions::{self, Which};
use super::{Acts, Looks};
use crate::answers::operators::{Acted, JobCount, JobPage};
use crate::http::body::Body;
use crate::http::pages::page_limit;
use crate::http::query::{Params, Segments};
use crate::openapi::{ActionErrors, LookErrors, schemas};
use crate::{ApiError, AppState};

/// The longest text that is looked for, in bytes.
const TEXT_LIMIT: usize = 512;

/// How many jobs may be named at a time.
const NAMED_LIMIT: usize = 500;

/// How many jobs a count looks at.
pub(crate) const COUNT_LIMIT: u64 = 50_000;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(count))
        .routes(routes!(act_on_many))
        .routes(routes!(act_on_one))
}

/// Which jobs are meant. What is left out, or empty, does not matter.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobParams {
    /// Only those of this queue, which is also their type.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[param(value_type = Option<schemas::QueueName>, nullable = false)]
    #[schema(value_type = Option<schemas::QueueName>, nullable = false)]
    pub queue: Option<String>,
    /// Only those in this state.
    #[serde(
        default,
        deserialize_with = "state",
        skip_serializing_if = "Option::is_none"
    )]
    #[param(value_type = Option<schemas::JobState>, nullable = false)]
    #[schema(value_type = Option<schemas::JobState>, nullable = false)]
    pub state: Option<JobState>,
    /// Only those of this user.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[param(max_length = 128, nullable = false)]
    #[schema(max_length = 128, nullable = false)]
    pub user: Option<String>,
    /// Only those whose last error contains this text.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[param(max_length = 128, nullable = false)]
    #[schema(max_length = 128, nullable = false)]
    pub error: Option<String>,
    /// Only those with this text in their id, user, group, unique key or last error, whatever its
    /// case.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[param(max_length = 128, nullable = false)]
    #[schema(max_length = 128, nullable = false)]
    pub text: Option<String>,
}

/// A form sends what was left empty as an empty text.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|it| !it.is_empty()))
}

fn state<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<JobState>, D::Error> {
    let text = given(deserializer)?;
    let state = text.map(|text| {
        text.parse().map_err(|_| {
            let names = JobState::ALL.map(JobState::as_str).join(", ");
            serde::de::Error::custom(format!("state: must be one of {names}"))
        })
    });
    state.transpose()
}

impl JobParams {
    pub(crate) fn query(&self) -> Result<JobQuery, ApiError> {
        let texts = [
            ("user", &self.user),
            ("error", &self.error),
            ("text", &self.text),
        ];
        for (name, text) in texts {
            if text.as_ref().is_some_and(|it| it.len() > TEXT_LIMIT) {
                let rule = format!("{name}: must not be longer than {TEXT_LIMIT} bytes");
                return Err(ApiError::InvalidRequest(rule));
            }
        }
        let Self {
            queue,
            state,
            user,
            error,
            text,
        } = self.clone();
        Ok(JobQuery {
            queue,
            state,
            user,
            error,
            text,
        })
    }

    /// What is given, by name.
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let state = self.state.map(|it| it.as_str().to_owned());
        let pairs = [
            ("queue", self.queue.clone()),
            ("state", state),
            ("user", self.user.clone()),
            ("error", self.error.clone()),
            ("text", self.text.clone()),
        ];
        let given = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        given.collect()
    }

    /// The same in an address.
    pub(crate) fn to_query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.pairs()).finish()
    }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a query, which is read with the filter")]
struct PageParams {
    /// The `next` of the page before.
    #[param(value_type = Option<schemas::JobsCursor>, nullable = false)]
    cursor: Option<String>,
    /// Jobs on a page, 1 to 1000, of which 500 are given at most; 100 when left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// The two together: `serde(flatten)` knows no unknown fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListParams {
    #[serde(default, deserialize_with = "given")]
    queue: Option<String>,
    #[serde(default, deserialize_with = "state")]
    state: Option<JobState>,
    #[serde(default, deserialize_with = "given")]
    user: Option<String>,
    #[serde(default, deserialize_with = "given")]
    error: Option<String>,
    #[serde(default, deserialize_with = "given")]
    text: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

/// Search jobs
///
/// By queue and state, of these the newest first. A search looks at 10,000 jobs at a time: a page
/// may hold few, or none, and have a `next` all the same. Jobs come without their payload, result
/// and log.
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    operation_id = "listJobs",
    tag = "operators",
    params(JobParams, PageParams),
    responses((status = 200, description = "One page", body = JobPage), LookErrors),
    security(("token" = ["admin"]), ("token" = ["admin:read"])),
)]
async fn list(
    _looks: Looks,
    State(app): State<AppState>,
    Params(params): Params<ListParams>,
) -> Result<Json<JobPage>, ApiError> {
    let ListParams {
        queue,
        state,
        user,
        error,
        text,
        cursor,
        limit,
    } = params;
    let query = JobParams {
        queue,
        state,
        user,
        error,
        text,
    }
    .query()?;
    let limit = page_limit(limit.as_deref())?;
    let from = cursor.map(|cursor| cursor.parse::<Place>()).transpose();
    let from = from.map_err(|error| ApiError::InvalidRequest(error.to_string()))?;
    let found = app
        .queues
        .search(&query, from.as_ref(), limit as u64)
        .await?;
    Ok(Json(found.into()))
}

/// Count jobs
///
/// By queue and state alone the count is exact and cheap; else at most 50,000 jobs are looked at,
/// and `at_least` says that there may be more.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/count",
    operation_id = "countJobs",
    tag = "operators",
    params(JobParams),
    responses((status = 200, description = "How many they are", body = JobCount), LookErrors),
    security(("token" = ["admin"]), ("token" = ["admin:read"])),
)]
async fn count(
    _looks: Looks,
    State(state): State<AppState>,
    Params(params): Params<JobParams>,
) -> Result<Json<JobCount>, ApiError> {
    let counted = state.queues.count(&params.query()?, COUNT_LIMIT).await?;
    Ok(Json(JobCount {
        jobs: counted.jobs,
        at_least: counted.at_least,
    }))
}

/// An action on jobs: either those that are named, or all that a filter means.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct JobAction {
    /// What is done.
    #[schema(value_type = schemas::JobOperation)]
    operation: Operation,
    /// At most 500 jobs.
    #[schema(value_type = Option<Vec<schemas::JobId>>, max_items = 500, required = false)]
    ids: Option<Vec<String>>,
    /// All that it means, of those that were there when the action began. An empty one means all.
    #[schema(required = false)]
    filter: Option<JobParams>,
}

/// Act on many jobs
///
/// `retry` puts dead, cancelled and refused jobs back in line; `run` has scheduled and retrying ones
/// run at once; `cancel` cancels what waits, and asks what runs to stop; `delete` removes what does
/// not run. Jobs that an operation is not for are left alone. Works in steps of a hundred jobs. What
/// was cancelled, or had ended and was deleted, can be undone for ten minutes.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/actions",
    operation_id = "actOnJobs",
    tag = "operators",
    request_body = JobAction,
    responses((status = 200, description = "It was done", body = Acted), ActionErrors),
    security(("token" = ["admin"])),
)]
async fn act_on_many(
    Acts(actor): Acts,
    State(state): State<AppState>,
    Body(JobAction {
        operation,
        ids,
        filter,
    }): Body<JobAction>,
) -> Result<Json<Acted>, ApiError> {
    let invalid = |rule: &str| ApiError::InvalidRequest(rule.to_owned());
    let which = match (ids, filter) {
        (Some(ids), None) if ids.len() > NAMED_LIMIT => {
            return Err(invalid("ids: must be at most 500"));
        }
        (Some(ids), None) => {
            let ids = ids
                .iter()
                .map(|id| JobId::parse(id))
                .collect::<Result<_, _>>();
            Which::These(ids.map_err(|error| ApiError::InvalidRequest(format!("ids: {error}")))?)
        }
        (None, Some(filter)) => Which::All(filter.query()?),
        _ => return Err(invalid("body: must have either ids or filter")),
    };
    let done = actions::on_jobs(&state, &actor, operation, &which).await?;
    Ok(Json(done.into()))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
struct ActionPath {
    /// The job's id.
    #[param(value_type = schemas::JobId)]
    id: String,
    /// What is done.
    #[param(value_type = schemas::JobOperation)]
    operation: String,
}

/// Act on one job
///
/// As acting on many does; when the job is in a state that this is not for, the answer is 409 and
/// says why.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{id}/{operation}",
    operation_id = "actOnJob",
    tag = "operators",
    params(ActionPath),
    responses((status = 200, description = "It was done", body = Acted), ActionErrors),
    security(("token" = ["admin"])),
)]
async fn act_on_one(
    Acts(actor): Acts,
    State(state): State<AppState>,
    Segments((id, operation)): Segments<(String, String)>,
) -> Result<Json<Acted>, ApiError> {
    let operation = Operation::ALL
        .into_iter()
        .find(|it| it.as_str() == operation);
    let operation = operation.ok_or(ApiError::NotFound)?;
    let job = crate::jobs::find(&state, &id).await?;
    let done = actions::on_job(&state, &actor, operation, &job.id).await?;
    Ok(Json(done.into()))
}
