//! Tokens that were verified of late: one that comes with request after request is verified once.
//!
//! A caller is remembered by the hash of the token, so that no token is kept. It is good for no
//! longer than the token, and no longer than the issuer's keys that the token was verified with.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::Caller;
use super::jwks::{Keys, is_same};

/// Parts with a lock of their own, by the first byte of the hash.
const PARTS: usize = 16;
/// Callers of one generation of a part. There are two generations, so that 8,192 are remembered at
/// most, and at least the last half of them.
const GENERATION: usize = 256;

/// The hash of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

impl TokenHash {
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// The callers of tokens that were verified of late.
#[derive(Default)]
pub(super) struct Verified([Mutex<Part>; PARTS]);

/// What was not asked for since the last generation is forgotten with the one before.
#[derive(Default)]
struct Part {
    young: HashMap<TokenHash, Known>,
    old: HashMap<TokenHash, Known>,
}

struct Known {
    caller: Caller,
    /// The issuer's keys at that time; none for a development token.
    keys: Option<Keys>,
}

impl Verified {
    /// The caller, unless the token has expired or the issuer's keys are others by now. `keys` are
    /// those that are kept, and only asked for where they matter.
    pub fn get(&self, hash: TokenHash, keys: impl FnOnce() -> Option<Keys>) -> Option<Caller> {
        let mut part = self.part(hash);
        if let Some(known) = part.old.remove(&hash) {
            part.put(hash, known);
        }
        let known = part.young.get(&hash)?;
        let is_current = match &known.keys {
            None => true,
            Some(known) => keys().is_some_and(|keys| is_same(known, &keys)),
        };
        if is_current && is_unexpired(&known.caller) {
            return Some(known.caller.clone());
        }
        part.young.remove(&hash);
        None
    }

    /// Remembers who holds a token that was verified with these keys.
    pub fn put(&self, hash: TokenHash, caller: Caller, keys: Option<Keys>) {
        self.part(hash).put(hash, Known { caller, keys });
    }

    fn part(&self, hash: TokenHash) -> std::sync::MutexGuard<'_, Part> {
        let part = &self.0[usize::from(hash.0[0]) % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn put(&mut self, hash: TokenHash, known: Known) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, known);
    }
}

/// Whether the token is good without the leeway that clocks are given: what is left of its life
/// then is for the verification to judge.
fn is_unexpired(caller: &Caller) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    caller.expires_at().is_none_or(|at| now < at)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::token::Claims;
    use super::*;

    fn caller(exp: u64) -> Caller {
        let claims = serde_json::json!({"sub": "u", "exp": exp});
        serde_json::from_value::<Claims>(claims)
            .expect("claims")
            .into()
    }

    fn hash(number: usize) -> TokenHash {
        TokenHash::of(&number.to_string())
    }

    fn in_an_hour() -> u64 {
        let at = SystemTime::now() + Duration::from_secs(3600);
        at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    #[test]
    fn a_caller_is_known_until_the_token_expires() {
        let verified = Verified::default();
        verified.put(hash(0), caller(in_an_hour()), None);
        verified.put(hash(1), caller(in_an_hour() - 3601), None);
        assert!(verified.get(hash(0), || None).is_some());
        assert!(verified.get(hash(1), || None).is_none());
        assert!(verified.get(hash(2), || None).is_none());
    }

    #[test]
    fn a_caller_is_known_while_the_keys_are_those_it_was_verified_with() {
        let verified = Verified::default();
        let (keys, others) = (Keys::from([]), Keys::from([]));
        verified.put(hash(0), caller(in_an_hour()), Some(keys.clone()));
        assert!(verified.get(hash(0), || Some(keys.clone())).is_some());
        assert!(verified.get(hash(0), || Some(others)).is_none());
        assert!(verified.get(hash(0), || Some(keys)).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_in_use_stays() {
        let verified = Verified::default();
        for number in 0..50_000 {
            verified.put(hash(number), caller(in_an_hour()), None);
            if number % 100 == 0 {
                assert!(verified.get(hash(0), || None).is_some(), "{number}");
            }
        }
        let part = |part: &Mutex<Part>| {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.young.len() + part.old.len()
        };
        let remembered: usize = verified.0.iter().map(part).sum();
        assert!(remembered <= PARTS * GENERATION * 2, "{remembered}");
    }
}
