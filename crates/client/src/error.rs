//! What a call can fail with.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

/// Why a call has failed for good.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer, after all attempts.
    #[error("cannot reach the API at {api}")]
    Unreachable {
        /// The API's address.
        api: String,
        /// What the last attempt ran into.
        #[source]
        source: reqwest::Error,
    },
    /// The API says no.
    #[error("the API says {}: {}", .0.status, .0.reason())]
    Refused(Box<Refusal>),
    /// The API's answer is none that the contract knows.
    #[error("cannot understand the API's answer: {0}")]
    Answer(String),
    /// The WebSocket was refused or broke off.
    #[error("the WebSocket ended: {0}")]
    Socket(String),
    /// A file on this machine cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file was changed while it was uploaded.
    #[error("the file changed while it was uploaded")]
    Changed,
    /// What was downloaded is not what was asked for.
    #[error("the content is not the one with the digest that was asked for")]
    Digest,
    /// The settings of the client cannot be used.
    #[error("cannot set up the client: {0}")]
    Config(String),
}

/// An answer that is not a success, in file sync's shape or that of the other surfaces.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Refusal {
    /// The status.
    #[serde(skip)]
    pub status: StatusCode,
    /// Why, as a name such as `SYNC_QUOTA`; empty when the answer has none.
    #[serde(default, alias = "error")]
    pub code: String,
    /// The same in words.
    #[serde(default, alias = "message")]
    pub detail: String,
    /// With `SYNC_CURSOR_INVALID`: whether to take a snapshot.
    #[serde(default)]
    pub reset: bool,
    /// With `reset`: `history_changed` or `expired`.
    #[serde(default)]
    pub reason: Option<String>,
    /// With `SYNC_OFFSET`: where an upload goes on.
    #[serde(default)]
    pub offset: Option<u64>,
    /// When to come again, if the answer says so.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// `SYNC_QUOTA: the share has no room`.
    pub fn reason(&self) -> String {
        match (self.code.as_str(), self.detail.as_str()) {
            ("", "") => "no reason given".to_owned(),
            (code, "") => code.to_owned(),
            ("", detail) => detail.to_owned(),
            (code, detail) => format!("{code}: {detail}"),
        }
    }
}

impl ClientError {
    /// The code of a refusal; empty when it is none.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.code,
            _ => "",
        }
    }

    /// The status of a refusal.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Whether the log does not lead on from the cursor, so that a snapshot has to be taken.
    pub fn is_reset(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.reset)
    }

    /// Whether the same call may succeed later although nothing else changes.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Socket(_) => true,
            Self::Refused(refusal) => comes_again(refusal.status),
            _ => false,
        }
    }
}

/// Whether a status says to come again.
pub(crate) fn comes_again(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}
