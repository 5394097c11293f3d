//! Which documents have a name, a user and an id: readers and listeners know a file by its name,
//! and the name lives on as long as any document has it.

use redis::Value;
use sha2::{Digest, Sha256};

use super::Known;
use super::buckets::{Bucket, Buckets};
use super::functions::FUNCTIONS;
use super::keys::BUCKETS;
use super::lead::Lead;
use super::ledger::check_open;
use crate::StoreError;
use crate::spread::hash;

/// That a document comes to a name, or leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Naming<'a> {
    /// The document's `_id`.
    pub doc_id: &'a str,
    /// The name.
    pub name: &'a Known,
    /// Whether the document has it from now on.
    pub has: bool,
}

impl Naming<'_> {
    /// The `_id` as id: no other document has it.
    fn is_own(&self) -> bool {
        *self.name.id == *self.doc_id
    }

    fn digest(&self) -> [u8; 8] {
        let mut digest = Sha256::new();
        digest.update((self.name.user.len() as u64).to_be_bytes());
        digest.update(self.name.user.as_bytes());
        digest.update(self.name.id.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest.finalize()[..8]);
        first
    }
}

impl Lead {
    /// Keeps which documents have which names, and tells of each step whether other documents have
    /// the name, in their order; one round trip. Steps are to come in the order of the log. It is
    /// done before the changes are settled, and may be done again: then what others have is as it
    /// is after the steps behind, too.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when another worker has the lease by now.
    pub async fn name(&self, steps: &[Naming<'_>]) -> Result<Vec<bool>, StoreError> {
        let mut shared = vec![false; steps.len()];
        let kept: Vec<usize> = (0..steps.len())
            .filter(|&place| !steps[place].is_own())
            .collect();
        let digests: Vec<[u8; 8]> = kept.iter().map(|&place| steps[place].digest()).collect();
        let buckets = Buckets::of(
            digests
                .iter()
                .map(|digest| usize::from(digest[0]) % BUCKETS),
        );
        let commands = buckets.commands(&FUNCTIONS.name, "names", |cmd, places| {
            cmd.arg(self.token);
            for &place in places {
                let Naming { doc_id, has, .. } = &steps[kept[place]];
                let (field, rest) = digests[place].split_at(2);
                cmd.arg(field)
                    .arg(rest)
                    .arg(&hash(doc_id).to_be_bytes()[..])
                    .arg(u8::from(*has));
            }
        });
        if commands.is_empty() {
            return Ok(shared);
        }
        let answers: Vec<Vec<Value>> = FUNCTIONS.name.run_all(&self.valkey, commands).await?;
        for ((_, places), answer) in buckets.used().zip(answers) {
            let mut answer = answer.into_iter();
            check_open(answer.next())?;
            for (&place, is_shared) in places.iter().zip(answer) {
                shared[kept[place]] = is_shared == Value::Int(1);
            }
        }
        Ok(shared)
    }

    /// Forgets all names, to keep those of all documents anew.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when another worker has the lease by now.
    pub async fn forget_names(&self) -> Result<(), StoreError> {
        let commands = Buckets::of(0..BUCKETS).commands(&FUNCTIONS.unname, "names", |cmd, _| {
            cmd.arg(self.token);
        });
        let answers: Vec<Bucket> = FUNCTIONS.unname.run_all(&self.valkey, commands).await?;
        if answers.contains(&Bucket::Closed) {
            return Err(StoreError::Superseded);
        }
        Ok(())
    }
}
