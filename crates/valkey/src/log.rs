//! What a reader of a log lacks.
//!
//! A log is a stream of what happened to one thing: entries with offsets that grow one by one, and
//! an epoch. A log that began anew has another epoch, so that it is never taken for the old one.
//! `lua/log.lua` has the other half: append, and read after an offset.

use redis::{FromRedisValue, ParsingError, Value};

/// What a reader lacks: `S` is the state that a log has led to, `E` one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since<S, E = S> {
    /// The state, for a reader that has nothing yet.
    Present(S),
    /// What happened since the reader's place, oldest first, not always all of it; empty when
    /// nothing did.
    Since(Vec<E>),
    /// The state, for a reader whose place the log does not reach back to, or which is of another
    /// epoch.
    Reset(S),
}

impl<S, E> Since<S, E> {
    /// The same of other types.
    ///
    /// # Errors
    /// The first one of a conversion.
    pub fn try_map<T, F, X>(
        self,
        state: impl Fn(S) -> Result<T, X>,
        entry: impl Fn(E) -> Result<F, X>,
    ) -> Result<Since<T, F>, X> {
        Ok(match self {
            Self::Present(it) => Since::Present(state(it)?),
            Self::Reset(it) => Since::Reset(state(it)?),
            Self::Since(entries) => {
                Since::Since(entries.into_iter().map(entry).collect::<Result<_, _>>()?)
            }
        })
    }
}

/// What `log.since` of `lua/log.lua` returns; none for `{'gone'}`, which says that the thing is not
/// there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinceReply(pub Option<Since<String>>);

impl FromRedisValue for SinceReply {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let words: Vec<String> = FromRedisValue::from_redis_value(value)?;
        let mut words = words.into_iter();
        let status = words.next().unwrap_or_default();
        let mut state = || words.next().ok_or("a log's answer without its state");
        Ok(Self(match status.as_str() {
            "present" => Some(Since::Present(state()?)),
            "reset" => Some(Since::Reset(state()?)),
            "since" => Some(Since::Since(words.collect())),
            "gone" => None,
            _ => return Err("a log's answer of an unknown kind".into()),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(words: &[&str]) -> Result<SinceReply, ParsingError> {
        let words = words
            .iter()
            .map(|word| Value::BulkString(word.as_bytes().to_vec()));
        FromRedisValue::from_redis_value(Value::Array(words.collect()))
    }

    #[test]
    fn each_status_word_is_its_answer() {
        let reply = |words: &[&str]| read(words).unwrap().0;
        assert_eq!(reply(&["present", "a"]), Some(Since::Present("a".into())));
        assert_eq!(reply(&["reset", "b"]), Some(Since::Reset("b".into())));
        let since = Since::Since(vec!["c".into(), "d".into()]);
        assert_eq!(reply(&["since", "c", "d"]), Some(since));
        assert_eq!(reply(&["since"]), Some(Since::Since(Vec::new())));
        assert_eq!(reply(&["gone"]), None);
        for malformed in [&["present"][..], &["later", "a"], &[]] {
            read(malformed).unwrap_err();
        }
    }
}
