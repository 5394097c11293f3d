//! What a job logs.

use serde::{Deserialize, Serialize};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Details.
    Debug,
    /// What happens.
    Info,
    /// Something to look at, some day.
    Warn,
    /// Something that went wrong.
    Error,
}

impl LogLevel {
    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// A line that a job [logged](crate::Run::log).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// In which attempt, from 1.
    pub attempt: u32,
    /// How much it matters.
    pub level: LogLevel,
    /// What it says.
    pub text: String,
}
