//! What the ledger keeps of a document, in as few bytes as make it readable again.

use crate::StoreError;

/// A document that the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The file's owner.
    pub user: Box<str>,
    /// What readers know the file by.
    pub id: Box<str>,
}

/// Bytes of the time and the generation.
const HEAD: usize = 10;
const LENGTH: usize = 2;

impl Known {
    pub(super) fn encode(&self, doc_id: &str, ts: i64, generation: u16) -> Vec<u8> {
        // No user has a name that long; one that had would be known by its beginning.
        let mut length = u16::try_from(self.user.len()).unwrap_or(u16::MAX);
        while !self.user.is_char_boundary(length.into()) {
            length -= 1;
        }
        let user = &self.user.as_bytes()[..length.into()];
        let id = if *self.id == *doc_id { "" } else { &self.id };
        let mut record = Vec::with_capacity(HEAD + LENGTH + user.len() + id.len());
        record.extend_from_slice(&time(ts));
        record.extend_from_slice(&generation.to_be_bytes());
        record.extend_from_slice(&length.to_be_bytes());
        record.extend_from_slice(user);
        record.extend_from_slice(id.as_bytes());
        record
    }

    pub(super) fn decode(doc_id: &str, record: &[u8]) -> Result<Known, StoreError> {
        let parts = || {
            let (length, rest) = record.get(HEAD..)?.split_first_chunk::<LENGTH>()?;
            let (user, id) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
            let (user, id) = (
                std::str::from_utf8(user).ok()?,
                std::str::from_utf8(id).ok()?,
            );
            Some(Known {
                user: user.into(),
                id: if id.is_empty() { doc_id } else { id }.into(),
            })
        };
        parts().ok_or(StoreError::Corrupt("a record of the tail's ledger"))
    }
}

/// A time as scripts compare it.
pub(super) fn time(ts: i64) -> [u8; 8] {
    // Convex's times are after 1970.
    ts.max(0).to_be_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_tells_what_was_recorded(
            user in "\\PC{1,40}", id in "\\PC{1,40}", same in any::<bool>(), ts in 0..i64::MAX, generation: u16,
        ) {
            let doc_id = "j57000820c20a1g7104gm2rc1m70ynr8";
            let id = if same { doc_id.into() } else { id.into() };
            let known = Known { user: user.into(), id };
            let record = known.encode(doc_id, ts, generation);
            prop_assert_eq!(Known::decode(doc_id, &record).unwrap(), known);
        }

        #[test]
        fn no_bytes_make_it_panic(record in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Known::decode("d", &record);
        }
    }

    #[test]
    fn a_typical_record_is_small() {
        let known = Known {
            user: "user_2abcdefghijklmnopqrstuvwxyz".into(),
            id: "0f8fad5b-d9cb-469f-a165-70867728950e".into(),
        };
        assert_eq!(known.encode("d", 1_800_000_000_000_000_000, 1).len(), 80);
    }
}
