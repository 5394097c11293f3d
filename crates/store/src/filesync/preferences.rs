//! Preferences: which folders of which shares a device wants to hear of.

use serde::{Deserialize, Serialize};

use super::devices::check_id;
use super::functions::FUNCTIONS;
use super::keys::DeviceKeys;
use super::{Caller, Filesync, FilesyncError};
use crate::StoreError;

/// What a device wants of a share. The nearest rule up the tree wins, `excluded_folders` before
/// `selected_folders`. Folders go by id, so that they stay what they are when they are moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// Whether it wants anything.
    pub sync_enabled: bool,
    /// The folders that it wants; none for all.
    pub selected_folders: Option<Vec<String>>,
    /// The folders that it does not want; none for no folder.
    pub excluded_folders: Option<Vec<String>>,
}

/// A preference as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPreference {
    /// What the device wants.
    #[serde(flatten)]
    pub preference: Preference,
    /// Since when, in ms since 1970.
    pub updated_at: u64,
}

sluice_valkey::statuses! {
    enum Put {
        Kept = "kept",
        NoDevice = "no_device",
        NotFound = "not_found",
    }
}

sluice_valkey::statuses! {
    enum Listed {
        Found = "found",
        NoDevice = "no_device",
    }
}

impl Filesync {
    /// What a device wants, of the shares that its user may see: share and preference, by share.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Store`].
    pub async fn preferences(
        &self,
        caller: &Caller,
        device: &str,
    ) -> Result<Vec<(String, KeptPreference)>, FilesyncError> {
        let device = caller.device(device);
        check_id(device)?;
        let keys = DeviceKeys::of(device);
        let function = &FUNCTIONS.preference_list;
        let mut call = function.read_only_command(&[&keys.device, &keys.preferences]);
        call.arg(&caller.user)
            .arg(caller.groups_json())
            .arg(&keys.share);
        let (status, found): (Listed, Vec<(String, String)>) =
            function.run(&self.valkey, &call).await?;
        if status == Listed::NoDevice {
            return Err(FilesyncError::NotFound("device"));
        }
        let found = found.into_iter().map(|(share, json)| {
            let kept = serde_json::from_str(&json);
            let kept = kept.map_err(|_| StoreError::Corrupt("a preference"))?;
            Ok((share, kept))
        });
        let mut found = found.collect::<Result<Vec<(_, KeptPreference)>, StoreError>>()?;
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    /// Keeps what a device wants of these shares: all of it, or nothing when the caller may not see
    /// one of them. Returns the time, in ms since 1970.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Store`].
    pub async fn prefer(
        &self,
        caller: &Caller,
        device: &str,
        preferences: &[(String, Preference)],
    ) -> Result<u64, FilesyncError> {
        let device = caller.device(device);
        check_id(device)?;
        let keys = DeviceKeys::of(device);
        let function = &FUNCTIONS.preference_put;
        let mut call = function.command(&[&keys.device, &keys.preferences]);
        call.arg(&caller.user)
            .arg(caller.groups_json())
            .arg(device.id)
            .arg(&keys.share)
            .arg(&keys.access);
        for (share, preference) in preferences {
            let json = serde_json::json!(preference).to_string();
            call.arg(share).arg(json);
        }
        let (status, answer): (Put, String) = function.run(&self.valkey, &call).await?;
        match status {
            Put::Kept => answer
                .parse()
                .map_err(|_| StoreError::Corrupt("a time").into()),
            Put::NoDevice => Err(FilesyncError::NotFound("device")),
            Put::NotFound => Err(FilesyncError::NotFound("share")),
        }
    }
}
