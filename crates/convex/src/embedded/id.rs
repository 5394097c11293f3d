//! Document ids as Convex writes them.
//!
//! An id is lowercase Crockford base32 (big-endian bit order, zero-filled tail) of: the table
//! number as a little-endian base-128 varint, the 16-byte internal id, and a Fletcher-16 footer
//! over both. Decoding is strict: one text per id.

use std::fmt;

use super::error::RequestError;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The number of the first user table of a deployment.
pub const FIRST_TABLE_NUMBER: u32 = 10_001;

/// A document id: the number of its table, and 16 bytes that no other document has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentId {
    /// Number of the table, at least 1.
    pub table: u32,
    /// The internal id, read as a big-endian number so that its order is the order of its bytes.
    pub internal: u128,
}

impl DocumentId {
    /// Reads the text form. `None` for whatever [`Display`](fmt::Display) would not have written.
    pub fn parse(text: &str) -> Option<DocumentId> {
        if !(31..=37).contains(&text.len()) {
            return None;
        }
        let bytes = base32_decode(text.as_bytes())?;
        let (body, footer) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
        if footer != fletcher16(body) {
            return None;
        }
        let (number, internal) = body.split_at_checked(body.len().checked_sub(16)?)?;
        let table = varint_decode(number)?;
        let internal = u128::from_be_bytes(internal.try_into().ok()?);
        Some(DocumentId { table, internal })
    }

    /// Why a document cannot be imported under this id.
    pub(super) fn conflict(self) -> RequestError {
        RequestError::bad_request(
            "ImportConflict",
            format!("The id {self} is another table's, or that of a document that is there."),
        )
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(23);
        varint_encode(self.table, &mut bytes);
        bytes.extend_from_slice(&self.internal.to_be_bytes());
        let footer = fletcher16(&bytes);
        bytes.extend_from_slice(&footer);
        f.write_str(&base32_encode(&bytes))
    }
}

fn fletcher16(bytes: &[u8]) -> [u8; 2] {
    let (mut low, mut high) = (0u8, 0u8);
    for byte in bytes {
        low = low.wrapping_add(*byte);
        high = high.wrapping_add(low);
    }
    [low, high]
}

fn varint_encode(mut number: u32, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn varint_decode(bytes: &[u8]) -> Option<u32> {
    let (last, rest) = bytes.split_last()?;
    let continued = rest.iter().all(|byte| byte & 0x80 != 0);
    if *last == 0 || last & 0x80 != 0 || !continued {
        return None;
    }
    let number = bytes
        .iter()
        .rev()
        .fold(0u64, |number, byte| number << 7 | u64::from(byte & 0x7f));
    u32::try_from(number).ok()
}

fn base32_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(5));
    let (mut window, mut bits) = (0u32, 0);
    for byte in bytes {
        window = window << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(window >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(window << (5 - bits) & 31) as usize]));
    }
    text
}

fn base32_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut window, mut bits) = (0u32, 0);
    for symbol in text {
        let value = ALPHABET.iter().position(|known| known == symbol)?;
        window = window << 5 | value as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((window >> bits) as u8);
        }
    }
    // What is left over is the zero-filled tail: less than a whole symbol, and zero.
    (bits < 5 && window & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_match_the_published_rules() {
        let counting = u128::from_be_bytes(std::array::from_fn(|n| n as u8));
        let id = DocumentId {
            table: 10_001,
            internal: counting,
        };
        assert_eq!(id.to_string(), "j57000820c20a1g7104gm2rc1m70ynr8");
        let zero = DocumentId {
            table: 10_001,
            internal: 0,
        };
        assert_eq!(zero.to_string(), "j5700000000000000000000000001qv0");
    }

    #[test]
    fn only_the_canonical_text_is_an_id() {
        let text = "j57000820c20a1g7104gm2rc1m70ynr8";
        assert!(DocumentId::parse(text).is_some());
        for wrong in [
            "",
            "J57000820c20a1g7104gm2rc1m70ynr8",
            "j57000820c20a1g7104gm2rc1m70ynr9",
            "j57000820c20a1g7104gm2rc1m70ynr80",
            "j57000820c20a1g7104gm2rc1m70ynr",
            "i57000820c20a1g7104gm2rc1m70ynr8",
        ] {
            assert_eq!(DocumentId::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_id_reads_back(table in 1u32.., internal: u128) {
            let id = DocumentId { table, internal };
            let text = id.to_string();
            prop_assert!((31..=37).contains(&text.len()));
            prop_assert_eq!(DocumentId::parse(&text), Some(id));
        }
    }
}
