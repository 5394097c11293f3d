//! Devices: registered, switched on and off, seen, put to sleep, deleted.
//!
//! A device belongs to its user: another user's device of the same id is another one.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::Cmd;
use serde::{Deserialize, Serialize};
use sluice_valkey::Function;

use super::functions::FUNCTIONS;
use super::keys::{DeviceKeys, TENANTS};
use super::{Filesync, FilesyncError, is_id, new_id};
use crate::StoreError;

/// Most devices of a user.
pub const MAX_DEVICES: usize = 100;

/// How many devices one step puts to sleep.
const CHUNK: usize = 500;

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they are named after what they are")]
pub enum Platform {
    Windows,
    Macos,
    Linux,
    Ios,
    Android,
    Web,
    Cli,
}

impl Platform {
    const ALL: [Self; 7] = [
        Self::Windows,
        Self::Macos,
        Self::Linux,
        Self::Ios,
        Self::Android,
        Self::Web,
        Self::Cli,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Macos => "macos",
            Self::Linux => "linux",
            Self::Ios => "ios",
            Self::Android => "android",
            Self::Web => "web",
            Self::Cli => "cli",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

/// Whose device it is, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceName<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The user.
    pub user: &'a str,
    /// What the user's client calls the device.
    pub id: &'a str,
}

/// A device as it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// What the user calls it.
    pub name: String,
    /// What it is.
    pub platform: Platform,
    /// The version of the client on it; may be empty.
    pub client_version: String,
}

/// What is to change about a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceChange {
    /// What the user calls it; none to keep that.
    pub name: Option<String>,
    /// Whether it may change anything; none to keep that.
    pub is_active: Option<bool>,
}

/// A device. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What its user's client calls it.
    pub id: String,
    /// What its user calls it.
    pub name: String,
    /// What it is.
    pub platform: Platform,
    /// The version of the client on it; may be empty.
    pub client_version: String,
    /// Whether it may change anything.
    pub is_active: bool,
    /// When it registered or was seen last.
    pub seen_at: u64,
    /// When it registered first.
    pub created_at: u64,
    /// Names its last registration.
    pub instance: String,
    /// What the log knows it by; no two devices of a tenant ever have the same.
    pub number: u64,
}

sluice_valkey::statuses! {
    enum Registered {
        Created = "created",
        Known = "known",
        Full = "full",
    }
}

sluice_valkey::statuses! {
    enum Updated {
        Updated = "updated",
        NotFound = "not_found",
    }
}

type Fields = BTreeMap<String, String>;

impl Filesync {
    /// Has a tenant among those that are known.
    pub(super) async fn know_tenant(&self, tenant: &str) -> Result<(), StoreError> {
        let mut known = redis::cmd("SADD");
        known.arg(TENANTS).arg(tenant);
        Ok(self.valkey.query("filesync_tenant", &known).await?)
    }

    /// Registers a device, or takes in what a known one says of itself now; with whether it is new.
    ///
    /// # Errors
    /// [`FilesyncError::TooManyDevices`], [`FilesyncError::NotFound`] for what cannot be an id,
    /// [`FilesyncError::Store`].
    pub async fn register_device(
        &self,
        device: DeviceName<'_>,
        said: &NewDevice,
    ) -> Result<(Device, bool), FilesyncError> {
        check_id(device)?;
        self.know_tenant(device.tenant).await?;
        let keys = DeviceKeys::of(device);
        let mut call = FUNCTIONS.device_register.command(&[
            &keys.device,
            &keys.devices,
            &keys.tenant,
            &keys.seen,
        ]);
        call.arg(device.user)
            .arg(device.id)
            .arg(&keys.place)
            .arg(&said.name)
            .arg(said.platform.as_str())
            .arg(&said.client_version)
            .arg(format!("{:032x}", rand::random::<u128>()))
            .arg(MAX_DEVICES)
            .arg(&keys.access);
        let function = &FUNCTIONS.device_register;
        let (status, fields): (Registered, Fields) = function.run(&self.valkey, &call).await?;
        match status {
            Registered::Full => Err(FilesyncError::TooManyDevices),
            Registered::Created => Ok((read(&fields)?, true)),
            Registered::Known => Ok((read(&fields)?, false)),
        }
    }

    /// A device.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Store`].
    pub async fn device(&self, device: DeviceName<'_>) -> Result<Device, FilesyncError> {
        check_id(device)?;
        let mut all = redis::cmd("HGETALL");
        all.arg(DeviceKeys::of(device).device);
        let fields: Fields = self.valkey.query("filesync_device", &all).await?;
        match fields.is_empty() {
            true => Err(FilesyncError::NotFound("device")),
            false => read(&fields),
        }
    }

    /// Tells all processes of a new socket of a device, so that older ones end.
    ///
    /// # Errors
    /// [`FilesyncError::Store`].
    pub async fn announce_socket(
        &self,
        device: DeviceName<'_>,
        number: u64,
        socket: &str,
    ) -> Result<(), FilesyncError> {
        let mut publish = redis::cmd("SPUBLISH");
        publish
            .arg(DeviceKeys::of(device).access)
            .arg(format!("s:{number} {socket}"));
        let _: u64 = self.valkey.query("filesync_socket", &publish).await?;
        Ok(())
    }

    /// The devices of a user, in the order of their registration.
    ///
    /// # Errors
    /// [`FilesyncError::Store`].
    pub async fn devices(&self, tenant: &str, user: &str) -> Result<Vec<Device>, FilesyncError> {
        let any = DeviceName {
            tenant,
            user,
            id: "",
        };
        let keys = DeviceKeys::of(any);
        let mut call = FUNCTIONS.device_list.read_only_command(&[&keys.devices]);
        call.arg(&keys.device);
        let found: Vec<Fields> = FUNCTIONS.device_list.run(&self.valkey, &call).await?;
        let devices = found.iter().map(read);
        let mut devices = devices.collect::<Result<Vec<_>, _>>()?;
        devices.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        Ok(devices)
    }

    /// Renames a device, or switches it on or off.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Store`].
    pub async fn update_device(
        &self,
        device: DeviceName<'_>,
        change: &DeviceChange,
    ) -> Result<Device, FilesyncError> {
        check_id(device)?;
        let keys = DeviceKeys::of(device);
        let mut call = FUNCTIONS.device_update.command(&[&keys.device]);
        call.arg(device.user)
            .arg(device.id)
            .arg(change.name.as_deref().unwrap_or_default())
            .arg(match change.is_active {
                Some(true) => "1",
                Some(false) => "0",
                None => "",
            })
            .arg(&keys.access);
        let function = &FUNCTIONS.device_update;
        let (status, fields): (Updated, Fields) = function.run(&self.valkey, &call).await?;
        match status {
            Updated::Updated => read(&fields),
            Updated::NotFound => Err(FilesyncError::NotFound("device")),
        }
    }

    /// Deletes a device with its preferences and cursors.
    ///
    /// # Errors
    /// As [`Filesync::update_device`].
    pub async fn delete_device(&self, device: DeviceName<'_>) -> Result<(), FilesyncError> {
        let keys = DeviceKeys::of(device);
        let DeviceKeys { devices, seen, .. } = &keys;
        let all = [
            &keys.device,
            devices,
            seen,
            &keys.preferences,
            &keys.cursors,
        ];
        let function = &FUNCTIONS.device_delete;
        let mut call = touch(function, device, &all.map(String::as_str))?;
        call.arg(new_id("call"));
        done(function.run(&self.valkey, &call).await?)
    }

    /// Notes that a device is there now, which wakes it when the clock has put it to sleep.
    ///
    /// # Errors
    /// As [`Filesync::update_device`].
    pub async fn device_seen(&self, device: DeviceName<'_>) -> Result<(), FilesyncError> {
        let keys = DeviceKeys::of(device);
        let function = &FUNCTIONS.device_beat;
        let call = touch(function, device, &[&keys.device, &keys.seen])?;
        done(function.run(&self.valkey, &call).await?)
    }

    /// Puts devices of a tenant to sleep that were not seen for so long, some at a time; with
    /// whether there may be more, and how many it put to sleep.
    ///
    /// # Errors
    /// [`FilesyncError::Store`].
    pub async fn sleep_devices(
        &self,
        tenant: &str,
        not_seen_for: Duration,
    ) -> Result<(bool, u64), FilesyncError> {
        let any = DeviceName {
            tenant,
            user: "",
            id: "",
        };
        let keys = DeviceKeys::of(any);
        let mut call = FUNCTIONS.device_sleep.command(&[&keys.seen]);
        call.arg(not_seen_for.as_millis() as u64)
            .arg(CHUNK)
            .arg(&keys.prefix)
            .arg(&keys.access);
        let (looked_at, asleep): (usize, u64) =
            FUNCTIONS.device_sleep.run(&self.valkey, &call).await?;
        Ok((looked_at == CHUNK, asleep))
    }
}

/// The call of a function that does something to a device.
fn touch(function: &Function, device: DeviceName<'_>, keys: &[&str]) -> Result<Cmd, FilesyncError> {
    check_id(device)?;
    let DeviceKeys { place, access, .. } = DeviceKeys::of(device);
    let mut call = function.command(keys);
    call.arg(device.user).arg(device.id).arg(place).arg(access);
    Ok(call)
}

fn done(is_there: bool) -> Result<(), FilesyncError> {
    match is_there {
        true => Ok(()),
        false => Err(FilesyncError::NotFound("device")),
    }
}

/// What cannot be the id of a device is not there.
pub(super) fn check_id(device: DeviceName<'_>) -> Result<(), FilesyncError> {
    done(is_id(device.id))
}

fn read(fields: &Fields) -> Result<Device, FilesyncError> {
    let device = || {
        let text = |name: &str| fields.get(name).cloned();
        let number = |name: &str| fields.get(name)?.parse().ok();
        Some(Device {
            id: text("id")?,
            name: text("name")?,
            platform: Platform::from_name(fields.get("platform")?)?,
            client_version: text("version")?,
            is_active: fields.get("active")? == "1",
            seen_at: number("seen")?,
            created_at: number("created")?,
            instance: text("instance")?,
            number: number("seq")?,
        })
    };
    device().ok_or_else(|| StoreError::Corrupt("a device").into())
}
