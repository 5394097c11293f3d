//! The SHA-256 of a content, counted as its bytes come in.

use std::fmt::Write;

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

/// A SHA-256 that another process can go on with.
#[derive(Clone, Default)]
pub struct ContentHash(Sha256);

impl ContentHash {
    /// Of these bytes, too.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// What [`ContentHash::resume`] takes. The bytes mean the same to every process whose `sha2` is
    /// of one minor version.
    pub fn state(&self) -> Vec<u8> {
        self.0.serialize().to_vec()
    }

    /// Goes on from a state; none when it is not one.
    pub fn resume(state: &[u8]) -> Option<Self> {
        let state = SerializedState::<Sha256>::try_from(state).ok()?;
        Sha256::deserialize(&state).ok().map(Self)
    }

    /// The digest, 32 bytes.
    pub fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// A digest as 64 hexadecimal digits.
pub fn hex(digest: &[u8; 32]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in digest {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_hash_that_another_process_goes_on_with_is_that_of_all_bytes() {
        let mut first = ContentHash::default();
        first.update(b"a");
        let mut second = ContentHash::resume(&first.state()).unwrap();
        second.update(b"bc");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&second.digest()), abc);
    }

    #[test]
    fn what_is_no_state_is_refused() {
        for text in [&b""[..], b"abc", &[0; 200]] {
            assert!(ContentHash::resume(text).is_none());
        }
    }
}
