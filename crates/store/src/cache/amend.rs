//! Later revisions and removals, applied to what is cached.

use redis::{Cmd, Value};

use super::functions::FUNCTIONS;
use super::{Cache, Change, ChangeKind, chunks};
use crate::StoreError;

/// What [`Cache::amend_all`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amended {
    /// How many cached entries were refreshed, added or removed.
    pub touched: u64,
    /// User and id of what the document left that a bulk set showed under it: another one may be
    /// the newest now, which is for [`Cache::succeed`].
    pub left: Vec<(Box<str>, String)>,
}

impl Cache {
    /// Brings whatever is cached of `user` up to date with changes in Convex, in whichever order
    /// and however often they arrive. In the bulk set the later of two changes of one document
    /// holds, and of two documents with one id the newer is shown; a single entry is dropped, and
    /// fetched anew when it is read, unless it is just the revision that a change brought. What is
    /// not cached stays so, except that a complete set (`allOne` or `allTwo` without skips) gains
    /// new files, at the end of its order. A revision that would take the set above the limit
    /// leaves it and is read through from then on.
    ///
    /// Returns the ids that the document left which the bulk set showed: another one may be the
    /// newest now, which is for [`Cache::succeed`].
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn amend(&self, user: &str, changes: &[Change]) -> Result<Vec<String>, StoreError> {
        let mut left = Vec::new();
        for chunk in chunks(changes, Change::bytes) {
            let cmd = self.amendment(user, chunk, false);
            left.extend(Answer::read(FUNCTIONS.amend.run(&self.valkey, &cmd).await?).left);
        }
        Ok(left)
    }

    /// As [`Cache::amend`], for documents that were found to have ids which others left: they take
    /// their places also in a set that is not complete. The time of each change is one since which
    /// the revision holds.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn succeed(&self, user: &str, changes: &[Change]) -> Result<(), StoreError> {
        for chunk in chunks(changes, Change::bytes) {
            let cmd = self.amendment(user, chunk, true);
            FUNCTIONS
                .amend
                .run::<redis::Value>(&self.valkey, &cmd)
                .await?;
        }
        Ok(())
    }

    /// As [`Cache::amend`], of many users in one round trip.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn amend_all<U: AsRef<str>>(
        &self,
        changes: &[(U, Vec<Change>)],
    ) -> Result<Amended, StoreError> {
        let (mut commands, mut users) = (Vec::new(), Vec::new());
        for (user, changes) in changes {
            for chunk in chunks(changes, Change::bytes) {
                commands.push(self.amendment(user.as_ref(), chunk, false));
                users.push(user.as_ref());
            }
        }
        let mut amended = Amended::default();
        if commands.is_empty() {
            return Ok(amended);
        }
        let answers: Vec<Vec<Value>> = FUNCTIONS.amend.run_all(&self.valkey, commands).await?;
        for (user, answer) in users.into_iter().zip(answers) {
            let Answer { touched, left } = Answer::read(answer);
            amended.touched += touched;
            amended
                .left
                .extend(left.into_iter().map(|id| (user.into(), id)));
        }
        Ok(amended)
    }

    fn amendment(&self, user: &str, changes: &[Change], succeed: bool) -> Cmd {
        let keys = self.keys(user);
        let leases: Vec<String> = changes
            .iter()
            .map(|change| keys.lease(change.id_in_flight()))
            .collect();
        let mut all_keys = keys.readable().to_vec();
        all_keys.extend(leases.iter().map(String::as_str));
        let bytes = changes.iter().map(Change::bytes).sum();
        let mut cmd =
            FUNCTIONS
                .amend
                .command_with_capacity(&all_keys, 2 + 4 * changes.len(), bytes);
        cmd.arg(self.config.limit_bytes).arg(u8::from(succeed));
        for change in changes {
            let (id, json) = match &change.kind {
                ChangeKind::Put(entry) => (&*entry.id, &entry.json[..]),
                ChangeKind::Remove { id } => (id.as_deref().unwrap_or_default(), &b""[..]),
            };
            cmd.arg(&*change.doc_id).arg(id).arg(json).arg(change.ts);
        }
        cmd
    }
}

/// What the script says.
struct Answer {
    touched: u64,
    left: Vec<String>,
}

impl Answer {
    fn read(parts: Vec<Value>) -> Answer {
        let mut answer = Answer {
            touched: 0,
            left: Vec::new(),
        };
        for part in parts {
            match part {
                Value::Int(touched) => answer.touched = touched.unsigned_abs(),
                other => answer.left.extend(text(other)),
            }
        }
        answer
    }
}

/// An id as scripts give it.
pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}

impl Change {
    /// The id that readers may be fetching, as far as it is known.
    fn id_in_flight(&self) -> &str {
        match &self.kind {
            ChangeKind::Put(entry) => &entry.id,
            ChangeKind::Remove { id } => id.as_deref().unwrap_or(&self.doc_id),
        }
    }

    /// Bytes it takes to send.
    pub(super) fn bytes(&self) -> usize {
        self.doc_id.len()
            + match &self.kind {
                ChangeKind::Put(entry) => entry.id.len() + entry.json.len(),
                ChangeKind::Remove { id } => id.as_deref().map_or(0, str::len),
            }
    }
}
