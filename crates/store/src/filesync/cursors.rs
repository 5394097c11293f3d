//! Cursors: how far each device has applied the log of each share.

use super::devices::check_id;
use super::functions::FUNCTIONS;
use super::keys::{DeviceKeys, Keys};
use super::{Caller, CursorFault, Filesync, FilesyncError};
use crate::StoreError;

/// The cursor of a device in a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceCursor {
    /// The position of the last change that the device has applied.
    pub position: u64,
    /// When it said so last, in ms since 1970; none when it never did.
    pub moved_at: Option<u64>,
}

/// How far a device is behind a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Its cursor.
    pub cursor: DeviceCursor,
    /// How many changes came after it.
    pub pending: u64,
    /// The device has yet to take a snapshot: what came before its cursor it never had.
    pub needs_snapshot: bool,
    /// Whether conflicts of the device are open.
    pub has_conflicts: bool,
}

sluice_valkey::statuses! {
    enum Move {
        Moved = "moved",
        Ahead = "ahead",
        Expired = "expired",
        NotFound = "not_found",
        NoDevice = "no_device",
    }
}

sluice_valkey::statuses! {
    enum Look {
        Found = "found",
        NotFound = "not_found",
        NoDevice = "no_device",
    }
}

impl Filesync {
    /// Moves the cursor of a device of the caller's to a position, never back, and returns where it
    /// is.
    ///
    /// # Errors
    /// [`FilesyncError::CursorInvalid`] for positions that the log does not have,
    /// [`FilesyncError::NotFound`], [`FilesyncError::Store`].
    pub async fn move_cursor(
        &self,
        caller: &Caller,
        device: &str,
        share: &str,
        position: u64,
    ) -> Result<DeviceCursor, FilesyncError> {
        let device = caller.device(device);
        check_id(device)?;
        let keys = DeviceKeys::of(device);
        let share_key = Keys::new(&caller.tenant).share(share);
        let function = &FUNCTIONS.cursor_move;
        let mut call = function.command(&[&share_key, &keys.device, &keys.cursors]);
        call.arg(&caller.user)
            .arg(caller.groups_json())
            .arg(share)
            .arg(position);
        let (status, position, at): (Move, u64, String) = function.run(&self.valkey, &call).await?;
        match status {
            Move::Moved => cursor(position, &at),
            Move::Ahead => Err(FilesyncError::CursorInvalid(CursorFault::HistoryChanged)),
            Move::Expired => Err(FilesyncError::CursorInvalid(CursorFault::Expired)),
            Move::NotFound => Err(FilesyncError::NotFound("share")),
            Move::NoDevice => Err(FilesyncError::NotFound("device")),
        }
    }

    /// How far a device of the caller's is behind a share. Without a cursor it gets one at the head.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Store`].
    pub async fn device_status(
        &self,
        caller: &Caller,
        device: &str,
        share: &str,
    ) -> Result<DeviceStatus, FilesyncError> {
        let device = caller.device(device);
        check_id(device)?;
        let keys = DeviceKeys::of(device);
        let share_key = Keys::new(&caller.tenant).share(share);
        let function = &FUNCTIONS.cursor_status;
        let mut call = function.command(&[&share_key, &keys.device, &keys.cursors]);
        call.arg(&caller.user).arg(caller.groups_json()).arg(share);
        type Answer = (Look, u64, String, String, u64, bool);
        let answer: Answer = function.run(&self.valkey, &call).await?;
        let (status, position, at, fresh, head, has_conflicts) = answer;
        match status {
            Look::Found => Ok(DeviceStatus {
                cursor: cursor(position, &at)?,
                pending: head.saturating_sub(position),
                needs_snapshot: fresh == "1",
                has_conflicts,
            }),
            Look::NotFound => Err(FilesyncError::NotFound("share")),
            Look::NoDevice => Err(FilesyncError::NotFound("device")),
        }
    }
}

fn cursor(position: u64, at: &str) -> Result<DeviceCursor, FilesyncError> {
    let moved_at = match at {
        "" => None,
        at => Some(at.parse().map_err(|_| StoreError::Corrupt("a cursor"))?),
    };
    Ok(DeviceCursor { position, moved_at })
}
