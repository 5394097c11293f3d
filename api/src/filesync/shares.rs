//! `/api/v1/shares…`: shares, their settings, and who is let in.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use sluice_jobs::meta::check_user;
use sluice_store::filesync::{self as store, Grantee, NewShare, ShareChange, ShareSettings};
use utoipa::{IntoParams, ToSchema};

use super::caller::{Reader, Writer};
use super::problem::invalid;
use super::request::{Content, Query, check_text, number, time};
use crate::answers::filesync::{Grant, Level, Share, SharePage};
use crate::auth::check_group;
use crate::http::query::{Segment, Segments};
use crate::openapi::{SyncErrors, schemas};
use crate::{ApiError, AppState};

/// Longest name of a share, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Most shares on a page, and as many as there are without a wish.
const MAX_LIMIT: u64 = 1000;
const DEFAULT_LIMIT: u64 = 100;
/// Largest quota, in bytes: what JSON's numbers are exact for.
const MAX_QUOTA_BYTES: u64 = (1 << 53) - 1;

/// The path to a share.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
struct SharePath {
    /// The share's id.
    #[param(value_type = schemas::ShareId)]
    id: String,
}

/// The path to what a user may do.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct UserGrantPath {
    /// The share's id.
    #[param(value_type = schemas::ShareId)]
    id: String,
    /// The user.
    #[param(value_type = schemas::UserId)]
    user: String,
}

/// The path to what a group may do.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct GroupGrantPath {
    /// The share's id.
    #[param(value_type = schemas::ShareId)]
    id: String,
    /// The group.
    #[param(value_type = schemas::UserId)]
    group: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// The `next` of the page before; left out for the first page.
    #[param(nullable = false)]
    page: Option<String>,
    /// Shares on a page, 1 to 1000; 100 when left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, nullable = false)]
    limit: Option<String>,
}

/// A share that is to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShareBody {
    /// Its name.
    #[schema(
        min_length = 1,
        max_length = 256,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
        example = "Photos"
    )]
    name: String,
    /// Most bytes of all versions in it; null for no limit.
    #[serde(default)]
    #[schema(maximum = 9007199254740991_u64)]
    quota: Option<u64>,
    /// Whether names that some systems do not take are refused.
    #[serde(default = "yes")]
    #[schema(default = true)]
    portable_names: bool,
    /// The part of the share, in per cent, that one device may delete within an hour; null for no
    /// limit.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100)]
    mass_delete_limit: Option<u8>,
}

/// What is to change about a share. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShareUpdate {
    /// Its name.
    #[serde(default)]
    #[schema(
        min_length = 1,
        max_length = 256,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"
    )]
    name: Option<String>,
    /// Most bytes of all versions in it; null for no limit.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u64>, maximum = 9007199254740991_u64)]
    quota: Option<Option<u64>>,
    /// Whether names that some systems do not take are refused.
    #[serde(default)]
    portable_names: Option<bool>,
    /// The part of the share, in per cent, that one device may delete within an hour; null for no
    /// limit.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u8>, minimum = 1, maximum = 100)]
    mass_delete_limit: Option<Option<u8>>,
}

/// What may be done with a share.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantBody {
    /// Each level includes those before it.
    level: Level,
}

fn yes() -> bool {
    true
}

/// Tells null from what is left out.
fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Make a share
///
/// It belongs to the caller.
#[utoipa::path(
    post,
    path = "/api/v1/shares",
    operation_id = "createShare",
    tag = "filesync",
    request_body = ShareBody,
    responses((status = 201, description = "The share", body = Share), SyncErrors),
    security(("token" = ["files:write"])),
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    Writer(caller): Writer,
    Content(body): Content<ShareBody>,
) -> Result<Response, ApiError> {
    check_name(&body.name)?;
    check_settings(body.quota, body.mass_delete_limit)?;
    let share = NewShare {
        name: body.name,
        settings: ShareSettings {
            quota: body.quota,
            portable_names: body.portable_names,
            mass_delete_limit: body.mass_delete_limit,
        },
    };
    let share = shown(state.filesync.create_share(&caller, &share).await?);
    let location = format!("/api/v1/shares/{}", share.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(share)).into_response())
}

/// List the shares that the caller can see
#[utoipa::path(
    get,
    path = "/api/v1/shares",
    operation_id = "listShares",
    tag = "filesync",
    params(ListParams),
    responses((status = 200, description = "One page", body = SharePage), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Query(params): Query<ListParams>,
) -> Result<Json<SharePage>, ApiError> {
    let limit = number("limit", params.limit.as_deref(), 1, MAX_LIMIT)?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT) as usize;
    let (shares, next) = state
        .filesync
        .shares(&caller, params.page.as_deref(), limit)
        .await?;
    let items = shares.into_iter().map(shown).collect();
    Ok(Json(SharePage { items, next }))
}

/// Look at a share
#[utoipa::path(
    get,
    path = "/api/v1/shares/{id}",
    operation_id = "getShare",
    tag = "filesync",
    params(SharePath),
    responses((status = 200, description = "The share", body = Share), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn get(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Segment(id): Segment,
) -> Result<Json<Share>, ApiError> {
    let share = state.filesync.share(&caller, &id).await?;
    Ok(Json(shown(share)))
}

/// Change a share's name or settings
#[utoipa::path(
    patch,
    path = "/api/v1/shares/{id}",
    operation_id = "updateShare",
    tag = "filesync",
    params(SharePath),
    request_body = ShareUpdate,
    responses((status = 200, description = "The share as it is now", body = Share), SyncErrors),
    security(("token" = ["files:write"])),
)]
pub(crate) async fn update(
    State(state): State<AppState>,
    Writer(caller): Writer,
    Segment(id): Segment,
    Content(update): Content<ShareUpdate>,
) -> Result<Json<Share>, ApiError> {
    update.name.as_deref().map_or(Ok(()), check_name)?;
    check_settings(update.quota.flatten(), update.mass_delete_limit.flatten())?;
    let change = ShareChange {
        name: update.name,
        quota: update.quota,
        portable_names: update.portable_names,
        mass_delete_limit: update.mass_delete_limit,
    };
    let share = state.filesync.change_share(&caller, &id, &change).await?;
    Ok(Json(shown(share)))
}

/// Delete a share
///
/// With all that is in it.
#[utoipa::path(
    delete,
    path = "/api/v1/shares/{id}",
    operation_id = "deleteShare",
    tag = "filesync",
    params(SharePath),
    responses((status = 204, description = "It is deleted"), SyncErrors),
    security(("token" = ["files:write"])),
)]
pub(crate) async fn delete(
    State(state): State<AppState>,
    Writer(caller): Writer,
    Segment(id): Segment,
) -> Result<StatusCode, ApiError> {
    state.filesync.delete_share(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List who can see a share
///
/// Beside its owner, who may do all. For who administers it.
#[utoipa::path(
    get,
    path = "/api/v1/shares/{id}/grants",
    operation_id = "listGrants",
    tag = "filesync",
    params(SharePath),
    responses((status = 200, description = "Users and groups", body = Vec<Grant>), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn grants(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Segment(id): Segment,
) -> Result<Json<Vec<Grant>>, ApiError> {
    let grants = state.filesync.grants(&caller, &id).await?.into_iter();
    let grants = grants.map(|(grantee, level)| {
        let (user, group) = match grantee {
            Grantee::User(user) => (Some(user), None),
            Grantee::Group(group) => (None, Some(group)),
        };
        let level = level.into();
        Grant { user, group, level }
    });
    Ok(Json(grants.collect()))
}

/// Let a user in
///
/// Or change what they may do.
#[utoipa::path(
    put,
    path = "/api/v1/shares/{id}/grants/users/{user}",
    operation_id = "grantUser",
    tag = "filesync",
    params(UserGrantPath),
    request_body = GrantBody,
    responses((status = 204, description = "They may"), SyncErrors),
    security(("token" = ["files:write"])),
)]
pub(crate) async fn grant_user(
    State(state): State<AppState>,
    Writer(caller): Writer,
    Segments(UserGrantPath { id, user }): Segments<UserGrantPath>,
    Content(GrantBody { level }): Content<GrantBody>,
) -> Result<StatusCode, ApiError> {
    check_user(&user).map_err(|rule| invalid("user", rule))?;
    let user = Grantee::User(user);
    state
        .filesync
        .grant(&caller, &id, &user, level.into())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a group in
///
/// Or change what its users may do.
#[utoipa::path(
    put,
    path = "/api/v1/shares/{id}/grants/groups/{group}",
    operation_id = "grantGroup",
    tag = "filesync",
    params(GroupGrantPath),
    request_body = GrantBody,
    responses((status = 204, description = "They may"), SyncErrors),
    security(("token" = ["files:write"])),
)]
pub(crate) async fn grant_group(
    State(state): State<AppState>,
    Writer(caller): Writer,
    Segments(GroupGrantPath { id, group }): Segments<GroupGrantPath>,
    Content(GrantBody { level }): Content<GrantBody>,
) -> Result<StatusCode, ApiError> {
    check_group(&group).map_err(|rule| invalid("group", rule))?;
    let group = Grantee::Group(group);
    state
        .filesync
        .grant(&caller, &id, &group, level.into())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a user in no more
///
/// Unless a group of theirs is let in.
#[utoipa::path(
    delete,
    path = "/api/v1/shares/{id}/grants/users/{user}",
    operation_id = "revokeUser",
    tag = "filesync",
    params(UserGrantPath),
    responses((status = 204, description = "The grant is revoked"), SyncErrors),
    security(("token" = ["files:write"])),
)]
pub(crate) async fn revoke_user(
    State(state): State<AppState>,
    Writer(caller): Writer,
    Segments(UserGrantPath { id, user }): Segments<UserGrantPath>,
) -> Result<StatusCode, ApiError> {
    let user = Grantee::User(user);
    state.filesync.revoke(&caller, &id, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a group in no more
#[utoipa::path(
    delete,
    path = "/api/v1/shares/{id}/grants/groups/{group}",
    operation_id = "revokeGroup",
    tag = "filesync",
    params(GroupGrantPath),
    responses((status = 204, description = "The grant is revoked"), SyncErrors),
    security(("token" = ["files:write"])),
)]
pub(crate) async fn revoke_group(
    State(state): State<AppState>,
    Writer(caller): Writer,
    Segments(GroupGrantPath { id, group }): Segments<GroupGrantPath>,
) -> Result<StatusCode, ApiError> {
    let group = Grantee::Group(group);
    state.filesync.revoke(&caller, &id, &group).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check_name(name: &str) -> Result<(), ApiError> {
    check_text("name", name, 1, MAX_NAME_BYTES)
}

fn check_settings(quota: Option<u64>, mass_delete_limit: Option<u8>) -> Result<(), ApiError> {
    if quota.is_some_and(|bytes| bytes > MAX_QUOTA_BYTES) {
        let rule = format_args!("must be at most {MAX_QUOTA_BYTES}");
        return Err(invalid("quota", rule));
    }
    if mass_delete_limit.is_some_and(|limit| !(1..=100).contains(&limit)) {
        return Err(invalid("mass_delete_limit", "must be 1 to 100"));
    }
    Ok(())
}

fn shown(share: store::Share) -> Share {
    let settings = share.settings;
    Share {
        id: share.id,
        name: share.name,
        owner: share.owner,
        level: share.level.into(),
        quota: settings.quota,
        used: share.used,
        reserved: share.reserved,
        portable_names: settings.portable_names,
        mass_delete_limit: settings.mass_delete_limit,
        head: share.head,
        floor: share.floor,
        created_at: time(share.created),
    }
}

impl From<store::Level> for Level {
    fn from(level: store::Level) -> Self {
        match level {
            store::Level::Read => Self::Read,
            store::Level::Write => Self::Write,
            store::Level::Admin => Self::Admin,
        }
    }
}

impl From<Level> for store::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Read => Self::Read,
            Level::Write => Self::Write,
            Level::Admin => Self::Admin,
        }
    }
}
