//! Looking at both: whatever was done, they must look the same.

use super::reference::Snapshot;
use super::{Twins, USERS};
use crate::JobId;
use crate::job::JobView;
use crate::keys::root;

const LISTS: [&str; 12] = [
    "waiting",
    "held",
    "newer",
    "crowded",
    "throttled",
    "throttled_users",
    "scheduled",
    "running",
    "retrying",
    "completed",
    "cancelled",
    "dead",
];

impl Twins {
    pub fn compare(&mut self, after: &str) {
        let (observed, expected) = (self.observed(), self.reference.snapshot());
        assert_eq!(observed.line, expected.line, "{after}");
        assert_eq!(observed.lists, expected.lists, "{after}");
        assert_eq!(observed.jobs, expected.jobs, "{after}");
        assert_eq!(observed.batches, expected.batches, "{after}");
    }

    pub fn observed(&mut self) -> Snapshot {
        let root = root("q");
        let mut snapshot = Snapshot {
            line: self.members("ZRANGE", "available"),
            ..Snapshot::default()
        };
        for list in LISTS {
            let members = self.members("ZRANGE", list);
            snapshot.note(list.to_owned(), members);
        }
        for user in USERS {
            for kind in ["places", "turns"] {
                let list = format!("{kind}:{user}");
                let members = self.members("SMEMBERS", &list);
                snapshot.note(list, members);
            }
        }
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(format!("{root}job:*"))
            .query(&mut self.valkey)
            .unwrap();
        for key in keys {
            let hash = redis::cmd("HGETALL").arg(&key).query(&mut self.valkey);
            let id = key.strip_prefix(&format!("{root}job:")).unwrap();
            let job = JobView::read(JobId::from_parts("q", id), hash.unwrap()).unwrap();
            assert_eq!(job.damage, None);
            let seen = (job.state.as_str().to_owned(), job.attempts);
            snapshot.jobs.insert(id.to_owned(), seen);
        }
        for batch in &self.batches {
            let counts: Vec<Option<usize>> = redis::cmd("HMGET")
                .arg(format!("{root}batch:{batch}"))
                .arg(&["jobs", "completed", "refused", "dead", "cancelled"])
                .query(&mut self.valkey)
                .unwrap();
            let counts = counts.into_iter().map(Option::unwrap_or_default);
            snapshot.batches.insert(batch.clone(), counts.collect());
        }
        snapshot
    }

    fn members(&mut self, command: &str, list: &str) -> Vec<String> {
        let mut command = redis::cmd(command);
        command.arg(root("q") + list);
        if list.contains(':') {
            return command.query(&mut self.valkey).unwrap();
        }
        command.arg(0).arg(-1).query(&mut self.valkey).unwrap()
    }
}
