//! What contents and their parts are called in the store.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use object_store::path::Path;

use crate::layout::Part;

/// Longest name of a folder on most systems.
const MAX_SEGMENT_BYTES: usize = 255;

/// The name of a content: no two contents ever have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentName {
    /// Whose it is.
    pub tenant: String,
    /// The share that it was sent to.
    pub share: String,
    /// The version that it is.
    pub version: String,
}

impl ContentName {
    /// What the names of its parts, and of nothing else, begin with.
    pub(crate) fn path(&self) -> Path {
        let segments = [&self.tenant, &self.share, &self.version];
        Path::from_iter(segments.map(|segment| encoded(segment)))
    }

    /// The name of a part. Parts sort as they follow each other.
    pub(crate) fn part(&self, part: &Part) -> Path {
        let name = format!("{:016}-{}", part.range.start, part.writer);
        self.path().join(name)
    }

    /// Whose part an object is; none for what is no part of a content.
    pub(crate) fn of(object: &Path) -> Option<Self> {
        let mut segments = object.as_ref().split('/');
        let mut next = || segments.next();
        let [tenant, share, version, _part] = [next()?, next()?, next()?, next()?];
        if next().is_some() {
            return None;
        }
        Some(Self {
            tenant: decoded(tenant)?,
            share: decoded(share)?,
            version: decoded(version)?,
        })
    }
}

/// As a segment that every store takes: letters, digits, `_` and `-`, anything else as `.` and two
/// digits; as a whole in base64, behind `..`, where that would be longer than a folder's name may be.
fn encoded(text: &str) -> String {
    let segment = escaped(text);
    if segment.len() <= MAX_SEGMENT_BYTES {
        return segment;
    }
    format!("..{}", URL_SAFE_NO_PAD.encode(text))
}

fn escaped(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => segment.push(byte.into()),
            _ => {
                let _ = write!(segment, ".{byte:02x}");
            }
        }
    }
    segment
}

fn decoded(segment: &str) -> Option<String> {
    if let Some(whole) = segment.strip_prefix("..") {
        return String::from_utf8(URL_SAFE_NO_PAD.decode(whole).ok()?).ok();
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'.' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn name(tenant: &str) -> ContentName {
        ContentName {
            tenant: tenant.to_owned(),
            share: "shr_1".to_owned(),
            version: "ver_1".to_owned(),
        }
    }

    #[test]
    fn whose_a_part_is_can_be_read_from_its_name() {
        let long = "ß".repeat(64);
        for tenant in [
            "acme",
            "a/b",
            "..",
            ".",
            "a.b",
            "Straße {x}:%2F#1",
            "a\\b",
            &long,
        ] {
            let name = name(tenant);
            let part = Part {
                range: 0..1,
                writer: 1,
            };
            let path = name.part(&part);
            assert_eq!(path.as_ref().split('/').count(), 4, "{path}");
            assert!(
                path.as_ref()
                    .split('/')
                    .all(|it| it.len() <= MAX_SEGMENT_BYTES)
            );
            assert_eq!(ContentName::of(&path), Some(name));
        }
    }

    #[test]
    fn what_is_no_part_belongs_to_no_content() {
        for path in ["a", "a/b/c", "a/b/c/d/e", "a/b/.zz/d", "a/b/.f/d"] {
            assert_eq!(ContentName::of(&Path::from(path)), None, "{path}");
        }
    }

    #[test]
    fn parts_sort_as_they_follow_each_other() {
        let part = |start| Part {
            range: start..start + 1,
            writer: 1,
        };
        let name = name("acme");
        assert!(name.part(&part(900)) < name.part(&part(10_000)));
    }
}
