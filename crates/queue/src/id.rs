//! Job ids and queue names.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use ulid::{ULID_LEN, Ulid};

use crate::QueueError;

/// Names a job: `<queue>_<ulid>`, lower case. It knows its queue, so a job is found by its id
/// alone.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct JobId(String);

impl JobId {
    /// A new id in `queue`, later in order than all former ones of this process to the millisecond.
    /// Whether there can be such a queue is not looked at before a job is enqueued.
    pub fn new(queue: &str) -> Self {
        let mut job = [0; ULID_LEN];
        let job = Ulid::generate().array_to_str(&mut job);
        job.make_ascii_lowercase();
        Self::from_parts(queue, job)
    }

    pub(crate) fn from_parts(queue: &str, job: &str) -> Self {
        Self([queue, "_", job].concat())
    }

    /// Reads an id.
    ///
    /// # Errors
    /// [`QueueError::InvalidId`] for anything but `<queue>_<ulid>` in lower case.
    pub fn parse(id: &str) -> Result<Self, QueueError> {
        let valid = id.split_once('_').is_some_and(|(queue, job)| {
            check_queue(queue).is_ok()
                && !job.contains(|c: char| c.is_ascii_uppercase())
                && Ulid::from_str(&job.to_uppercase()).is_ok()
        });
        if valid {
            Ok(Self(id.to_owned()))
        } else {
            Err(QueueError::InvalidId(id.chars().take(100).collect()))
        }
    }

    /// The name of the job's queue.
    pub fn queue(&self) -> &str {
        self.0.split_once('_').map_or("", |(queue, _)| queue)
    }

    /// The part after the queue's name, by which the queue's keys name the job.
    pub(crate) fn job(&self) -> &str {
        self.0.split_once('_').map_or("", |(_, job)| job)
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobId {
    type Err = QueueError;

    fn from_str(id: &str) -> Result<Self, QueueError> {
        Self::parse(id)
    }
}

/// Refuses what cannot be a queue's name: it becomes part of keys, job ids and channel patterns.
pub(crate) fn check_queue(name: &str) -> Result<(), QueueError> {
    let valid = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if valid {
        Ok(())
    } else {
        Err(QueueError::InvalidQueue(name.chars().take(100).collect()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_id_knows_its_queue_and_survives_being_written_and_read() {
        let id = JobId::new("most-active");
        assert_eq!(id.queue(), "most-active");
        assert_eq!(JobId::parse(id.as_str()).unwrap(), id);
    }

    #[test]
    fn malformed_ids_are_refused() {
        for id in [
            "",
            "sync",
            "sync_",
            "_01h2xcejqtf2nbrexx3vqjhp41",
            "Sync_01h2xcejqtf2nbrexx3vqjhp41",
            "sync_01H2XCEJQTF2NBREXX3VQJHP41",
            "sync_01h2xcejqtf2nbrexx3vqjhp4",
            "sync_01h2xcejqtf2nbrexx3vqjhp41 ",
            "a{b}_01h2xcejqtf2nbrexx3vqjhp41",
        ] {
            assert!(JobId::parse(id).is_err(), "{id:?} was taken");
        }
    }
}
