//! `/api/v1/sync/devices/{id}/preferences…`: which folders a device hears of.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use sluice_store::filesync::{self as store, Caller, FilesyncError, ROOT, ResourceType, is_id};
use utoipa::{IntoParams, ToSchema};

use super::caller::Reader;
use super::devices::DevicePath;
use super::problem::invalid;
use super::request::{Content, time};
use crate::answers::filesync::Preference;
use crate::http::query::{Segment, Segments};
use crate::openapi::{SyncErrors, schemas};
use crate::{ApiError, AppState};

/// Most folders in a list, and most shares in a call.
const MAX_FOLDERS: usize = 1000;
const MAX_SHARES: usize = 1000;

/// The path to what a device wants of a share.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct PreferencePath {
    /// The device's id.
    #[param(value_type = schemas::DeviceId)]
    id: String,
    /// The share.
    #[param(value_type = schemas::ShareId)]
    share_id: String,
}

/// What a device wants of a share. The nearest rule up the tree wins, excluded before selected.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    /// Whether it wants anything.
    #[serde(default = "yes")]
    #[schema(default = true)]
    sync_enabled: bool,
    /// The folders that it wants, by id, or by path from `/`; null for all.
    #[serde(default)]
    #[schema(max_items = 1000)]
    selected_folders: Option<Vec<String>>,
    /// The folders that it does not want, likewise; null for no folder.
    #[serde(default)]
    #[schema(max_items = 1000)]
    excluded_folders: Option<Vec<String>>,
}

/// As [`Wish`], of a share.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WishOfShare {
    /// The share.
    #[schema(value_type = schemas::ShareId)]
    share_id: String,
    /// Whether it wants anything.
    #[serde(default = "yes")]
    #[schema(default = true)]
    sync_enabled: bool,
    /// The folders that it wants, by id, or by path from `/`; null for all.
    #[serde(default)]
    #[schema(max_items = 1000)]
    selected_folders: Option<Vec<String>>,
    /// The folders that it does not want, likewise; null for no folder.
    #[serde(default)]
    #[schema(max_items = 1000)]
    excluded_folders: Option<Vec<String>>,
}

/// What a device wants of several shares.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wishes {
    /// One for each share, at most 1000. Other shares stay as they are.
    #[schema(max_items = 1000)]
    preferences: Vec<WishOfShare>,
}

fn yes() -> bool {
    true
}

/// List what a device wants
///
/// Of the shares that it was asked about; all of a share else. It bounds the frames that the device
/// is sent, not the change log.
#[utoipa::path(
    get,
    path = "/api/v1/sync/devices/{id}/preferences",
    operation_id = "listPreferences",
    tag = "filesync",
    params(DevicePath),
    responses((status = 200, description = "By share", body = Vec<Preference>), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Segment(id): Segment,
) -> Result<Json<Vec<Preference>>, ApiError> {
    let kept = state.filesync.preferences(&caller, &id).await?;
    let kept = kept.into_iter();
    let kept = kept.map(|(share, kept)| shown(share, kept.preference, kept.updated_at));
    Ok(Json(kept.collect()))
}

/// Say what a device wants of a share
#[utoipa::path(
    put,
    path = "/api/v1/sync/devices/{id}/preferences/{share_id}",
    operation_id = "putPreference",
    tag = "filesync",
    params(PreferencePath),
    request_body = Wish,
    responses((status = 200, description = "As it is kept", body = Preference), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn put(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Segments(PreferencePath { id, share_id }): Segments<PreferencePath>,
    Content(wish): Content<Wish>,
) -> Result<Json<Preference>, ApiError> {
    let preference = preference(&state, &caller, &share_id, wish, "").await?;
    let mut kept = keep(&state, &caller, &id, vec![(share_id, preference)]).await?;
    kept.pop().map(Json).ok_or(ApiError::Internal)
}

/// Say what a device wants of several shares
///
/// All of it is kept, or nothing.
#[utoipa::path(
    put,
    path = "/api/v1/sync/devices/{id}/preferences",
    operation_id = "putPreferences",
    tag = "filesync",
    params(DevicePath),
    request_body = Wishes,
    responses((status = 200, description = "As they are kept", body = Vec<Preference>), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn put_all(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Segment(id): Segment,
    Content(Wishes {
        preferences: wishes,
    }): Content<Wishes>,
) -> Result<Json<Vec<Preference>>, ApiError> {
    if wishes.len() > MAX_SHARES {
        let rule = format_args!("must hold at most {MAX_SHARES}");
        return Err(invalid("preferences", rule));
    }
    let mut named = HashSet::new();
    let mut preferences = Vec::with_capacity(wishes.len());
    for (index, wish) in wishes.into_iter().enumerate() {
        let at = format!("preferences[{index}].");
        if !named.insert(wish.share_id.clone()) {
            return Err(invalid(
                &format!("{at}share_id"),
                "must be another one for each of them",
            ));
        }
        let WishOfShare {
            share_id,
            sync_enabled,
            selected_folders,
            excluded_folders,
        } = wish;
        let wish = Wish {
            sync_enabled,
            selected_folders,
            excluded_folders,
        };
        let preference = preference(&state, &caller, &share_id, wish, &at).await?;
        preferences.push((share_id, preference));
    }
    keep(&state, &caller, &id, preferences).await.map(Json)
}

/// Keeps preferences, and shows them as they are kept.
async fn keep(
    state: &AppState,
    caller: &Caller,
    device: &str,
    preferences: Vec<(String, store::Preference)>,
) -> Result<Vec<Preference>, ApiError> {
    let at = state.filesync.prefer(caller, device, &preferences).await?;
    let kept = preferences.into_iter();
    let kept = kept.map(|(share, preference)| shown(share, preference, at));
    Ok(kept.collect())
}

/// `at` is what the names of its fields begin with.
async fn preference(
    state: &AppState,
    caller: &Caller,
    share: &str,
    wish: Wish,
    at: &str,
) -> Result<store::Preference, ApiError> {
    let field = format!("{at}selected_folders");
    let selected = folders(state, caller, share, wish.selected_folders, &field).await?;
    let field = format!("{at}excluded_folders");
    let excluded = folders(state, caller, share, wish.excluded_folders, &field).await?;
    Ok(store::Preference {
        sync_enabled: wish.sync_enabled,
        selected_folders: selected,
        excluded_folders: excluded,
    })
}

/// The ids of folders that are given by id or path.
async fn folders(
    state: &AppState,
    caller: &Caller,
    share: &str,
    given: Option<Vec<String>>,
    field: &str,
) -> Result<Option<Vec<String>>, ApiError> {
    let Some(given) = given else {
        return Ok(None);
    };
    if given.len() > MAX_FOLDERS {
        let rule = format_args!("must hold at most {MAX_FOLDERS}");
        return Err(invalid(field, rule));
    }
    let mut ids = Vec::with_capacity(given.len());
    for folder in given {
        let id = match folder.starts_with('/') {
            true => at_path(state, caller, share, &folder).await?,
            false => Some(folder).filter(|id| id == ROOT || is_id(id)),
        };
        ids.push(id.ok_or_else(|| invalid(field, "must hold ids or paths of folders"))?);
    }
    Ok(Some(ids))
}

/// The id of the folder at a path.
async fn at_path(
    state: &AppState,
    caller: &Caller,
    share: &str,
    path: &str,
) -> Result<Option<String>, ApiError> {
    if path == "/" {
        return Ok(Some(ROOT.to_owned()));
    }
    let node = match state.filesync.resolve(caller, share, path).await {
        // Also when there is no such share.
        Err(FilesyncError::NotFound(_)) => {
            state.filesync.share(caller, share).await?;
            return Ok(None);
        }
        node => node?,
    };
    let node: Place = serde_json::from_str(node.get()).map_err(|_| ApiError::Internal)?;
    Ok(Some(node.id).filter(|_| node.resource_type == ResourceType::Folder))
}

/// What is read of a node.
#[derive(Deserialize)]
struct Place {
    id: String,
    resource_type: ResourceType,
}

fn shown(share: String, preference: store::Preference, updated_at: u64) -> Preference {
    Preference {
        share_id: share,
        sync_enabled: preference.sync_enabled,
        selected_folders: preference.selected_folders,
        excluded_folders: preference.excluded_folders,
        updated_at: time(updated_at),
    }
}
