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
/// Of the length: the id is a UUID, in 16 bytes.
const IS_UUID: u16 = 1 << 15;

impl Known {
    pub(super) fn encode(&self, doc_id: &str, ts: i64, generation: u16) -> Vec<u8> {
        // No user has a name that long; one that had would be known by its beginning.
        let mut length =
            u16::try_from(self.user.len()).map_or(!IS_UUID, |length| length.min(!IS_UUID));
        while !self.user.is_char_boundary(length.into()) {
            length -= 1;
        }
        let user = &self.user.as_bytes()[..length.into()];
        let uuid = parse_uuid(&self.id);
        let id = match &uuid {
            _ if *self.id == *doc_id => b"",
            Some(uuid) => &uuid[..],
            None => self.id.as_bytes(),
        };
        if uuid.is_some() && !id.is_empty() {
            length |= IS_UUID;
        }
        let mut record = Vec::with_capacity(HEAD + LENGTH + user.len() + id.len());
        record.extend_from_slice(&time(ts));
        record.extend_from_slice(&generation.to_be_bytes());
        record.extend_from_slice(&length.to_be_bytes());
        record.extend_from_slice(user);
        record.extend_from_slice(id);
        record
    }

    pub(super) fn decode(doc_id: &str, record: &[u8]) -> Result<Known, StoreError> {
        let parts = || {
            let (length, rest) = record.get(HEAD..)?.split_first_chunk::<LENGTH>()?;
            let length = u16::from_be_bytes(*length);
            let (user, id) = rest.split_at_checked((length & !IS_UUID).into())?;
            let id = match id {
                [] => doc_id.into(),
                uuid if length & IS_UUID != 0 => print_uuid(uuid.try_into().ok()?).into(),
                text => std::str::from_utf8(text).ok()?.into(),
            };
            Some(Known {
                user: std::str::from_utf8(user).ok()?.into(),
                id,
            })
        };
        parts().ok_or(StoreError::Corrupt("a record of the tail's ledger"))
    }
}

/// The bytes of a UUID as it is mostly written: lower case, with hyphens.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let digits: String = text.chars().filter(|digit| *digit != '-').collect();
    let uuid = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    (print_uuid(uuid) == text).then_some(uuid)
}

fn print_uuid(uuid: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(uuid));
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| &digits[group]);
    groups.join("-")
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
            user in "\\PC{1,40}",
            id in "\\PC{1,40}|[0-9a-f]{8}-[0-9a-fA-F]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}",
            same in any::<bool>(), ts in 0..i64::MAX, generation: u16,
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
        assert_eq!(known.encode("d", 1_800_000_000_000_000_000, 1).len(), 60);
    }
}
