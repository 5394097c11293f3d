//! `GET /api/v1/sync/snapshot`: the tree of a share as it is.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluice_store::filesync::{ROOT, is_id};
use utoipa::IntoParams;

use super::caller::Reader;
use super::problem::invalid;
use super::request::{Query, number};
use crate::answers::filesync::Snapshot;
use crate::openapi::{SyncErrors, schemas};
use crate::{ApiError, AppState};

/// Most nodes on a page, and as many as there are without a wish.
const MAX_LIMIT: u64 = 1000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SnapshotParams {
    /// The share.
    #[param(value_type = schemas::ShareId)]
    share_id: String,
    /// The `next` of the page before; left out for the first page.
    #[param(nullable = false)]
    page: Option<String>,
    /// Nodes on a page, 1 to 1000; 1000 when left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, nullable = false)]
    limit: Option<String>,
    /// Only what is in this folder, at any depth.
    #[param(nullable = false)]
    under: Option<String>,
}

/// As [`Snapshot`], with nodes as they are read.
#[derive(Serialize)]
struct Page<'a> {
    items: &'a [Box<RawValue>],
    cursor: u64,
    next: Option<String>,
    share_id: &'a str,
}

/// Take a snapshot
///
/// The live files and folders of a share, without its root, in the order of their ids. A page may
/// hold fewer than `limit`, or none; the last one is that without `next`. Writes go on meanwhile:
/// whoever has read all pages replays the changes behind `cursor`, passing over those of a node
/// whose position is not above the node's own.
#[utoipa::path(
    get,
    path = "/api/v1/sync/snapshot",
    operation_id = "getSnapshot",
    tag = "filesync",
    params(SnapshotParams),
    responses((status = 200, description = "One page", body = Snapshot), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn snapshot(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Query(params): Query<SnapshotParams>,
) -> Result<Response, ApiError> {
    let limit = number("limit", params.limit.as_deref(), 1, MAX_LIMIT)?;
    let limit = limit.unwrap_or(MAX_LIMIT) as usize;
    let from = params.page.as_deref().map(place).transpose()?;
    let after = from.map(|(_, after)| after);
    // The root holds all.
    let under = params.under.as_deref().filter(|&under| under != ROOT);
    let share = &params.share_id;
    let page = state.filesync.snapshot(&caller, share, after, limit, under);
    let page = page.await?;
    // What was written before the first page is in it or behind it.
    let cursor = from.map_or(page.head, |(cursor, _)| cursor);
    let page = Page {
        items: &page.items,
        cursor,
        next: page.next.map(|after| format!("{cursor}-{after}")),
        share_id: share,
    };
    Ok(Json(page).into_response())
}

/// The cursor of the first page, and the id behind which a page begins.
fn place(page: &str) -> Result<(u64, &str), ApiError> {
    let place = page.split_once('-').and_then(|(cursor, after)| {
        let cursor = cursor.parse().ok()?;
        is_id(after).then_some((cursor, after))
    });
    place.ok_or_else(|| invalid("page", "must be one that an earlier page gave"))
}
