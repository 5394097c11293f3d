//! What names one state of one document, also when others of its id were there before.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A revision, and of which document it is: the one that was created at that time. Written
/// `7-1795289394786`.
///
/// Callers who know a revision alone write `7`. It is taken for one of the document that is there:
/// for a day after the end of a document, the revisions of the next one of its id go on behind its
/// own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The revision, from 1.
    pub revision: u64,
    /// When the document was created, in milliseconds since 1970; none when that is not known.
    pub created_at: Option<u64>,
}

impl Version {
    /// Whether it names this state.
    pub fn names(self, current: Version) -> bool {
        self.revision == current.revision
            && (self.created_at.is_none() || self.created_at == current.created_at)
    }
}

impl From<u64> for Version {
    fn from(revision: u64) -> Version {
        Version {
            revision,
            created_at: None,
        }
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.revision)?;
        match self.created_at {
            Some(created_at) => write!(f, "-{created_at}"),
            None => Ok(()),
        }
    }
}

/// A text that names no state of any document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a revision, or one with the time of creation as in 7-1795289394786")]
pub struct NoVersion;

impl FromStr for Version {
    type Err = NoVersion;

    /// A revision beyond all numbers is one that no document has.
    fn from_str(text: &str) -> Result<Version, NoVersion> {
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let is_short = text == "0" || !text.starts_with('0');
            (is_plain && is_short).then(|| text.parse().unwrap_or(u64::MAX))
        };
        let (revision, created_at) = match text.split_once('-') {
            Some((revision, created_at)) => (revision, Some(number(created_at).ok_or(NoVersion)?)),
            None => (text, None),
        };
        Ok(Version {
            revision: number(revision).ok_or(NoVersion)?,
            created_at,
        })
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.created_at {
            Some(_) => serializer.collect_str(self),
            None => serializer.serialize_u64(self.revision),
        }
    }
}

impl<'de> Deserialize<'de> for Version {
    /// A number, or a text with the time of creation.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        struct NumberOrText;
        impl Visitor<'_> for NumberOrText {
            type Value = Version;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("a revision as a number, or as in \"7-1795289394786\"")
            }

            fn visit_u64<E: Error>(self, revision: u64) -> Result<Version, E> {
                Ok(Version::from(revision))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Version, E> {
                let version = text.parse().ok();
                let version = version.filter(|it: &Version| it.created_at.is_some());
                version.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(NumberOrText)
    }
}
