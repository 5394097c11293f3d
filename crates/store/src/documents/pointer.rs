//! Places in a document: JSON Pointer (RFC 6901).

use serde_json::Value;

/// A pointer taken apart. The empty one is the document's data itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Pointer, String> {
        if text.is_empty() {
            return Ok(Pointer(Vec::new()));
        }
        let Some(tokens) = text.strip_prefix('/') else {
            return Err(format!("{text:?} is no JSON Pointer: it must begin with /"));
        };
        let tokens = tokens.split('/').map(unescape).collect::<Option<_>>();
        tokens
            .map(Pointer)
            .ok_or_else(|| format!("{text:?} is no JSON Pointer: after ~ there must be 0 or 1"))
    }

    /// The place that holds this one, and the name or index of this one in it. None for the whole.
    pub fn split(&self) -> Option<(&[String], &str)> {
        let (last, parents) = self.0.split_last()?;
        Some((parents, last))
    }

    /// The names and indexes that lead there.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many names and indexes lead there, which is how many levels lie above.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What is there.
    pub fn get_mut<'a>(&self, root: &'a mut Value) -> Option<&'a mut Value> {
        follow(root, &self.0)
    }

    /// Whether `other` lies inside of what this points to.
    pub fn contains(&self, other: &Pointer) -> bool {
        other.0.len() > self.0.len() && other.0.starts_with(&self.0)
    }
}

/// What lies at the end of a path.
pub(super) fn follow<'a>(root: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(root, |value, token| match value {
        Value::Object(fields) => fields.get_mut(token),
        Value::Array(items) => items.get_mut(index(token)?),
        _ => None,
    })
}

/// An index has no sign and no leading zero.
pub(super) fn index(token: &str) -> Option<usize> {
    let is_plain = token.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = token == "0" || !token.starts_with('0');
    (is_plain && is_short).then(|| token.parse().ok())?
}

fn unescape(token: &str) -> Option<String> {
    let mut unescaped = String::with_capacity(token.len());
    let mut characters = token.chars();
    while let Some(character) = characters.next() {
        unescaped.push(match character {
            '~' => match characters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(unescaped)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    /// The examples of RFC 6901, section 5.
    #[test]
    fn pointers_lead_where_the_rfc_says() {
        let mut root = json!({
            "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8,
        });
        for (text, value) in [
            ("", root.clone()),
            ("/foo", json!(["bar", "baz"])),
            ("/foo/0", json!("bar")),
            ("/", json!(0)),
            ("/a~1b", json!(1)),
            ("/c%d", json!(2)),
            ("/e^f", json!(3)),
            ("/g|h", json!(4)),
            ("/i\\j", json!(5)),
            ("/k\"l", json!(6)),
            ("/ ", json!(7)),
            ("/m~0n", json!(8)),
        ] {
            let found = Pointer::parse(text).unwrap().get_mut(&mut root).cloned();
            assert_eq!(found, Some(value), "{text}");
        }
        for text in ["/foo/2", "/foo/-", "/foo/00", "/foo/+1", "/bar", "/foo/0/x"] {
            let pointer = Pointer::parse(text).unwrap();
            assert_eq!(pointer.get_mut(&mut root), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for text in ["a", "#/a", "/~", "/a~2"] {
            assert!(Pointer::parse(text).is_err(), "{text}");
        }
    }
}
