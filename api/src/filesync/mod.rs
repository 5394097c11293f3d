//! File sync: files and folders of several users and devices, one change log per share.
//!
//! `/api/v1/sync…` is what a client of the sync calls, `/api/v1/shares…` what lets users in.

mod apply;
mod caller;
mod changes;
mod conflicts;
mod contents;
mod cursors;
mod devices;
mod download;
mod frames;
mod preferences;
mod problem;
mod request;
mod shares;
mod snapshot;
mod socket;
mod upload;
mod versions;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;

pub(crate) use problem::{Code, print};

/// Where this surface is.
const ADDRESSES: [&str; 2] = ["/api/v1/sync", "/api/v1/shares"];

/// `/api/v1/sync…`, `/api/v1/shares…`
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(changes::changes))
        .routes(routes!(snapshot::snapshot))
        .routes(routes!(apply::apply))
        .routes(routes!(conflicts::list))
        .routes(routes!(conflicts::resolve))
        .routes(routes!(devices::list, devices::register))
        .routes(routes!(devices::update, devices::delete))
        .routes(routes!(devices::heartbeat))
        .routes(routes!(socket::watch))
        .routes(routes!(preferences::list, preferences::put_all))
        .routes(routes!(preferences::put))
        .routes(routes!(cursors::advance))
        .routes(routes!(cursors::status))
        .routes(routes!(upload::put, upload::head, upload::delete))
        .routes(routes!(download::get, download::head))
        .routes(routes!(versions::list))
        .routes(routes!(shares::list, shares::create))
        .routes(routes!(shares::get, shares::update, shares::delete))
        .routes(routes!(shares::grants))
        .routes(routes!(shares::grant_user, shares::revoke_user))
        .routes(routes!(shares::grant_group, shares::revoke_group))
        .layer(DefaultBodyLimit::max(request::MAX_BODY_BYTES))
}

/// Whether a path is one of this surface, whatever is there.
pub(crate) fn has(path: &str) -> bool {
    let below = |address| path.strip_prefix(address);
    ADDRESSES
        .iter()
        .filter_map(below)
        .any(|rest| rest.is_empty() || rest.starts_with('/'))
}
