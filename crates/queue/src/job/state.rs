//! The states of a job.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::QueueError;

/// Where a job is in its life; the crate's documentation draws the transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for the one before it in a chain, or for the end of a batch.
    Waiting,
    /// Waits for its time.
    Scheduled,
    /// Waits for a worker (that knows its version), for another job of its group or user to end, or
    /// for the rate of its user.
    Available,
    /// A worker has it.
    Running,
    /// Failed, and waits for its next attempt.
    Retrying,
    /// Has a result, or the handler's refusal.
    Completed,
    /// Was cancelled.
    Cancelled,
    /// Failed for good: a dead letter.
    Dead,
}

impl State {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Scheduled,
        Self::Available,
        Self::Running,
        Self::Retrying,
        Self::Completed,
        Self::Cancelled,
        Self::Dead,
    ];

    /// The name, which is also that of the key that holds the state's jobs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Scheduled => "scheduled",
            Self::Available => "available",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }

    /// Reads it from a job's hash as [`crate::keys`] describes it: the field, if there is one, else
    /// by which others there are. None when there is no job.
    pub(crate) fn read(
        state: Option<String>,
        has_finished_at: bool,
        has_run: bool,
        has_position: bool,
    ) -> Result<Option<Self>, QueueError> {
        Ok(match state {
            Some(state) => Some(state.parse()?),
            None if has_finished_at => Some(Self::Completed),
            None if has_run => Some(Self::Running),
            None => has_position.then_some(Self::Available),
        })
    }

    /// The keys, after the queue's root, that hold the jobs in this state. Jobs move from the
    /// earlier to the later ones.
    pub(crate) fn sets(&self) -> &[&'static str] {
        match self {
            Self::Waiting => &["waiting"],
            Self::Scheduled => &["scheduled"],
            Self::Available => &["held", "newer", "crowded", "throttled", "available"],
            Self::Running => &["running"],
            Self::Retrying => &["retrying"],
            Self::Completed => &["completed"],
            Self::Cancelled => &["cancelled"],
            Self::Dead => &["dead"],
        }
    }

    /// Whether the job has ended.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Dead)
    }
}

impl FromStr for State {
    type Err = QueueError;

    fn from_str(name: &str) -> Result<Self, QueueError> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == name)
            .ok_or_else(|| QueueError::Malformed(format!("state {name:?}")))
    }
}
