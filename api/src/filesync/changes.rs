//! `GET /api/v1/sync/changes`: the log of a share, or of all that the caller can see.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluice_store::filesync::{self as store, Caller, FilesyncError};
use tokio::time::{Instant, timeout};
use utoipa::IntoParams;

use super::caller::Reader;
use super::problem::invalid;
use super::request::{Query, number, position};
use crate::answers::filesync::ChangePage;
use crate::openapi::{SyncErrors, schemas};
use crate::{ApiError, AppState};

/// Most changes on a page, and as many as there are without a wish.
const MAX_LIMIT: u64 = 5000;
const DEFAULT_LIMIT: u64 = 1000;
/// Longest wait, in seconds.
const MAX_WAIT: u64 = 300;
/// An event may get lost: who waits looks so often all the same.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangesParams {
    /// The `cursor` of the page before. Left out, the answer is where the log ends, without changes.
    #[param(value_type = Option<u64>, nullable = false)]
    cursor: Option<String>,
    /// The share. Left out, the changes of all shares that the caller can see come in one order,
    /// which has cursors of its own.
    #[param(value_type = Option<schemas::ShareId>, nullable = false)]
    share_id: Option<String>,
    /// Changes on a page, 1 to 5000; 1000 when left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 5000, nullable = false)]
    limit: Option<String>,
    /// The `last_change_id` of the page before, if it had one: what the log must have at `cursor`, or
    /// else the caller has read what the server has lost.
    #[param(nullable = false)]
    since: Option<String>,
    /// Seconds to hold the answer while there are no changes, 0 to 300; the server may hold it for
    /// less.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 300, nullable = false)]
    wait: Option<String>,
}

/// What is asked for.
struct Asked<'a> {
    share: Option<&'a str>,
    after: Option<u64>,
    since: Option<&'a str>,
    limit: usize,
}

/// As [`ChangePage`], with changes as they are kept.
#[derive(Serialize)]
struct Page<'a> {
    changes: &'a [Box<RawValue>],
    cursor: u64,
    has_more: bool,
    share_id: Option<&'a str>,
    floor: u64,
    last_change_id: Option<&'a str>,
}

/// Read changes
///
/// Every change behind `cursor`, once and in order. A page holds at most `limit` changes and 4 MiB,
/// and may be empty while `has_more` is true, which always comes with a larger cursor. A cursor that
/// the log does not lead on from is 400 `SYNC_CURSOR_INVALID` with `reset`: the caller takes a
/// snapshot then.
#[utoipa::path(
    get,
    path = "/api/v1/sync/changes",
    operation_id = "getChanges",
    tag = "filesync",
    params(ChangesParams),
    responses(
        (status = 200, description = "One page", body = ChangePage),
        SyncErrors,
    ),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn changes(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Query(params): Query<ChangesParams>,
) -> Result<Response, ApiError> {
    let cursor = params.cursor.as_deref();
    let cursor = cursor
        .map(|cursor| position("cursor", cursor))
        .transpose()?;
    let limit = number("limit", params.limit.as_deref(), 1, MAX_LIMIT)?;
    let wait = number("wait", params.wait.as_deref(), 0, MAX_WAIT)?;
    let share = params.share_id.as_deref();
    if params.since.is_some() && cursor.is_none() {
        return Err(invalid("since", "must come with cursor"));
    }
    let asked = Asked {
        share,
        after: cursor,
        since: params.since.as_deref(),
        limit: limit.unwrap_or(DEFAULT_LIMIT) as usize,
    };
    let wait = Duration::from_secs(wait.unwrap_or_default());
    let page = read(&state, &caller, &asked, wait.min(state.config.request_wait)).await?;
    let page = Page {
        changes: &page.changes,
        cursor: page.cursor,
        has_more: page.has_more,
        share_id: share,
        floor: page.floor,
        last_change_id: page.last_change_id.as_deref(),
    };
    Ok(Json(page).into_response())
}

/// A page, for which it waits while it would be empty.
async fn read(
    state: &AppState,
    caller: &Caller,
    asked: &Asked<'_>,
    wait: Duration,
) -> Result<store::ChangePage, ApiError> {
    let deadline = Instant::now() + wait;
    let page = look(state, caller, asked).await?;
    if wait.is_zero() || asked.after.is_none() || !is_empty(&page) {
        return Ok(page);
    }
    let _open = state.streams.open_for(Some(&caller.user))?;
    // Before the next look, so that nothing is missed.
    let mut listener = state.filesync.listen(caller, None).await;
    let shares = match asked.share {
        Some(share) => BTreeSet::from([share.to_owned()]),
        None => state.filesync.share_ids(caller).await?,
    };
    listener.add(shares.iter().map(String::as_str)).await;
    loop {
        let page = look(state, caller, asked).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !is_empty(&page) || left.is_zero() || state.shutdown.is_cancelled() {
            return Ok(page);
        }
        tokio::select! {
            () = state.shutdown.cancelled() => {}
            _ = timeout(left.min(LOOK), listener.next()) => {}
        }
    }
}

async fn look(
    state: &AppState,
    caller: &Caller,
    asked: &Asked<'_>,
) -> Result<store::ChangePage, FilesyncError> {
    let Asked {
        share,
        after,
        since,
        limit,
    } = *asked;
    match share {
        Some(share) => {
            let changes = state.filesync.changes(caller, share, after, since, limit);
            changes.await
        }
        None => state.filesync.feed(caller, after, since, limit).await,
    }
}

fn is_empty(page: &store::ChangePage) -> bool {
    page.changes.is_empty() && !page.has_more
}
