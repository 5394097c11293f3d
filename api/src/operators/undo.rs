//! `/api/v1/audit`: what operators did, and its undoing.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Acts, Looks, actions};
use crate::answers::operators::{Acted, AuditPage};
use crate::http::pages::page_limit;
use crate::http::query::{Params, Segment};
use crate::openapi::{ActionErrors, LookErrors, schemas};
use crate::{ApiError, AppState};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(undo))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditParams {
    /// The `next` of the page before.
    #[param(value_type = Option<schemas::ActionId>, nullable = false)]
    cursor: Option<String>,
    /// Actions on a page, 1 to 1000, of which 500 are given at most; 100 when left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// See what operators did
///
/// The last 10,000 actions, the latest first: who, when, what, and to how many.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    operation_id = "listActions",
    tag = "operators",
    params(AuditParams),
    responses((status = 200, description = "One page", body = AuditPage), LookErrors),
    security(("token" = ["admin"]), ("token" = ["admin:read"])),
)]
async fn list(
    _looks: Looks,
    State(state): State<AppState>,
    Params(params): Params<AuditParams>,
) -> Result<Json<AuditPage>, ApiError> {
    let limit = page_limit(params.limit.as_deref())?;
    let behind = params.cursor.as_deref();
    let actions = state.queues.audited(behind, limit as u64).await?;
    Ok(Json(AuditPage::new(actions, limit)))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
struct ActionPath {
    /// The action.
    #[param(value_type = schemas::ActionId)]
    action: String,
}

/// Undo an action
///
/// What was cancelled is back in line, what had ended and was deleted is back, both for ten minutes;
/// what was paused goes on, and the other way round; limits and rates are what they were before.
#[utoipa::path(
    post,
    path = "/api/v1/audit/{action}/undo",
    operation_id = "undoAction",
    tag = "operators",
    params(ActionPath),
    responses((status = 200, description = "It is undone", body = Acted), ActionErrors),
    security(("token" = ["admin"])),
)]
async fn undo(
    Acts(actor): Acts,
    State(state): State<AppState>,
    Segment(action): Segment,
) -> Result<Json<Acted>, ApiError> {
    let done = actions::undo(&state, &actor, &action).await?;
    Ok(Json(done.into()))
}
