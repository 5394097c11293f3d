//! `/api/v1/sync/devices…`: the devices of the caller.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sluice_store::filesync::{self as store, DeviceChange, NewDevice};
use utoipa::{IntoParams, ToSchema};

use super::caller::Reader;
use super::problem::invalid;
use super::request::{Content, check_text, time};
use crate::answers::filesync::Device;
use crate::http::query::Segment;
use crate::openapi::{SyncErrors, schemas};
use crate::{ApiError, AppState};

/// Longest name of a device, and longest version of a client, in bytes.
const MAX_NAME_BYTES: usize = 256;
const MAX_VERSION_BYTES: usize = 64;

/// The path to a device.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
pub(super) struct DevicePath {
    /// The device's id.
    #[param(value_type = schemas::DeviceId)]
    id: String,
}

/// A device that registers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    /// What the client calls it, the same each time.
    #[schema(value_type = schemas::DeviceId)]
    device_id: String,
    /// What the user calls it.
    #[schema(
        min_length = 1,
        max_length = 256,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
        example = "Ann's laptop"
    )]
    device_name: String,
    /// What it is.
    #[schema(value_type = schemas::Platform)]
    platform: store::Platform,
    /// The version of the client on it.
    #[serde(default)]
    #[schema(
        max_length = 64,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$",
        example = "1.4.0"
    )]
    client_version: Option<String>,
}

/// What is to change about a device.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Update {
    /// What the user calls it from now on.
    #[serde(default)]
    #[schema(
        min_length = 1,
        max_length = 256,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"
    )]
    device_name: Option<String>,
    /// Whether it may change anything from now on.
    #[serde(default)]
    is_active: Option<bool>,
}

/// List the caller's devices
///
/// In the order of their registration.
#[utoipa::path(
    get,
    path = "/api/v1/sync/devices",
    operation_id = "listDevices",
    tag = "filesync",
    responses((status = 200, description = "All of them", body = Vec<Device>), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Reader(caller): Reader,
) -> Result<Json<Vec<Device>>, ApiError> {
    let devices = state.filesync.devices(&caller.tenant, &caller.user).await?;
    let shown = devices
        .into_iter()
        .map(|device| shown(device, &caller.user));
    Ok(Json(shown.collect()))
}

/// Register a device
///
/// Again under the same id, it takes in what the device says of itself now. A registration after a
/// deletion is of a new device, which has to take a snapshot. A user has 100 devices at most.
#[utoipa::path(
    post,
    path = "/api/v1/sync/devices",
    operation_id = "registerDevice",
    tag = "filesync",
    request_body = Registration,
    responses(
        (status = 200, description = "It was there", body = Device),
        (status = 201, description = "It is new", body = Device),
        (status = 409, description = "`TOO_MANY`: the user has 100 devices", body = schemas::SyncError),
        SyncErrors,
    ),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn register(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Content(registration): Content<Registration>,
) -> Result<Response, ApiError> {
    let (id, said) = new_device(registration)?;
    let registered = state.filesync.register_device(caller.device(&id), &said);
    let (device, is_new) = registered.await?;
    let instance = Some(device.instance.clone());
    let device = Device {
        instance,
        ..shown(device, &caller.user)
    };
    if !is_new {
        return Ok(Json(device).into_response());
    }
    let location = format!("/api/v1/sync/devices/{}", device.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(device)).into_response())
}

/// Rename a device, or switch it on or off
#[utoipa::path(
    patch,
    path = "/api/v1/sync/devices/{id}",
    operation_id = "updateDevice",
    tag = "filesync",
    params(DevicePath),
    request_body = Update,
    responses((status = 200, description = "The device as it is now", body = Device), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn update(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Segment(id): Segment,
    Content(update): Content<Update>,
) -> Result<Json<Device>, ApiError> {
    if let Some(name) = &update.device_name {
        check_text("device_name", name, 1, MAX_NAME_BYTES)?;
    }
    let change = DeviceChange {
        name: update.device_name,
        is_active: update.is_active,
    };
    let device = state.filesync.update_device(caller.device(&id), &change);
    Ok(Json(shown(device.await?, &caller.user)))
}

/// Delete a device
///
/// With its preferences and cursors.
#[utoipa::path(
    delete,
    path = "/api/v1/sync/devices/{id}",
    operation_id = "deleteDevice",
    tag = "filesync",
    params(DevicePath),
    responses((status = 204, description = "It is deleted"), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn delete(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Segment(id): Segment,
) -> Result<StatusCode, ApiError> {
    state.filesync.delete_device(caller.device(&id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Say that a device is there
///
/// Wakes a device that was put to sleep as it was not seen for long.
#[utoipa::path(
    post,
    path = "/api/v1/sync/devices/{id}/heartbeat",
    operation_id = "heartbeat",
    tag = "filesync",
    params(DevicePath),
    responses((status = 204, description = "Noted"), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn heartbeat(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Segment(id): Segment,
) -> Result<StatusCode, ApiError> {
    state.filesync.device_seen(caller.device(&id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn new_device(registration: Registration) -> Result<(String, NewDevice), ApiError> {
    let Registration {
        device_id,
        device_name,
        platform,
        client_version,
    } = registration;
    if !store::is_id(&device_id) {
        return Err(invalid(
            "device_id",
            "must be 1 to 128 of letters, digits, `_`, `-` and `.`, and none of `.`, `..` and `root`",
        ));
    }
    check_text("device_name", &device_name, 1, MAX_NAME_BYTES)?;
    let client_version = client_version.unwrap_or_default();
    check_text("client_version", &client_version, 0, MAX_VERSION_BYTES)?;
    let said = NewDevice {
        name: device_name,
        platform,
        client_version,
    };
    Ok((device_id, said))
}

fn shown(device: store::Device, user: &str) -> Device {
    Device {
        id: device.id.clone(),
        device_id: device.id,
        device_name: device.name,
        platform: device.platform.as_str().to_owned(),
        client_version: Some(device.client_version).filter(|version| !version.is_empty()),
        is_active: device.is_active,
        last_seen_at: time(device.seen_at),
        created_at: time(device.created_at),
        user_id: user.to_owned(),
        instance: None,
    }
}
