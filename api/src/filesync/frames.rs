//! What is said on a WebSocket of file sync, each a JSON object in a text frame.

use serde::Deserialize;
use serde_json::json;

use crate::ApiError;
use crate::http::problem::ErrorBody;

/// What a client says.
#[derive(PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum ClientFrame {
    /// Answer `pong`.
    Ping,
    /// Tell of changes, from here on.
    Subscribe,
    /// Go on with another token, before the last one expires.
    Auth { token: String },
}

impl ClientFrame {
    /// # Errors
    /// [`ApiError::InvalidRequest`], which holds nothing of the text.
    pub fn read(text: &str) -> Result<Self, ApiError> {
        serde_json::from_str(text).map_err(|_| {
            let rule = "frame: must be {\"type\":\"ping\"}, {\"type\":\"subscribe\"} or \
                        {\"type\":\"auth\",\"token\"}";
            ApiError::InvalidRequest(rule.to_owned())
        })
    }
}

pub(super) fn pong() -> String {
    json!({"type": "pong"}).to_string()
}

/// The shares that are told of, each with the head of its log.
pub(super) fn subscribed(shares: &[(String, u64)]) -> String {
    let shares: Vec<_> = shares
        .iter()
        .map(|(share, cursor)| json!({"share_id": share, "cursor": cursor}))
        .collect();
    json!({"type": "subscribed", "shares": shares}).to_string()
}

/// A change, which is JSON already.
pub(super) fn change(share: &str, change: &str) -> String {
    format!(
        r#"{{"event_type":"change","share_id":{},"data":{change}}}"#,
        json!(share)
    )
}

pub(super) fn preference_updated(share: &str, device: &str) -> String {
    json!({"event_type": "sync_preference_updated", "share_id": share, "device_id": device})
        .to_string()
}

/// Why a client is to look at a share.
#[derive(Clone, Copy)]
pub(super) enum SyncReason {
    /// More happened than the socket was told of.
    Missed,
    /// The share was granted to the user, or the device's preferences have enabled it.
    Granted,
    /// The device's preferences let more of it through than before.
    Preferences,
}

pub(super) fn force_sync(share: &str, reason: SyncReason) -> String {
    let reason = match reason {
        SyncReason::Missed => "missed",
        SyncReason::Granted => "granted",
        SyncReason::Preferences => "preferences",
    };
    json!({"event_type": "force_sync", "share_id": share, "reason": reason}).to_string()
}

/// A frame that was none.
pub(super) fn error(error: &ApiError) -> String {
    let mut frame = json!(ErrorBody(error.problem()));
    frame["type"] = json!("error");
    frame.to_string()
}
