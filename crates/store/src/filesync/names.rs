//! Names and paths: what is allowed, when two are the same, and the names of copies.
//!
//! A name is kept as it is written, in NFC. Two names are the same in a folder when they are under
//! full case folding of NFC.

use std::sync::LazyLock;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;

/// Longest name, in bytes of NFC.
pub const MAX_NAME_BYTES: usize = 255;
/// Longest path, in bytes of NFC.
pub const MAX_PATH_BYTES: usize = 4_096;
/// Most names in a path.
pub const MAX_DEPTH: usize = 64;
/// Most characters of a device's name in the name of a copy.
const MAX_DEVICE_CHARS: usize = 40;
/// What the names of copies have before the device's name.
const COPY: &str = " (conflicted copy, ";
/// What some systems do not take in a name, beside what nobody takes.
const UNPORTABLE: &[char] = &['<', '>', ':', '"', '|', '?', '*'];

/// A name that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// In NFC.
    pub text: String,
    /// What it is compared by.
    pub folded: String,
}

/// Why a name or path is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A path begins at the root of its share.
    #[error("must begin with /")]
    NotAbsolute,
    /// The root itself has no name.
    #[error("must name something below the root")]
    Root,
    /// Two slashes side by side, or one at the end.
    #[error("must not have empty names")]
    Empty,
    /// `.` and `..` mean other folders.
    #[error("must not have names . or ..")]
    Dots,
    /// Characters that no system shows.
    #[error("must not have control characters")]
    Control,
    /// It separates names on some systems.
    #[error("must not have a backslash")]
    Backslash,
    /// A name is too long.
    #[error("must have names of {MAX_NAME_BYTES} bytes at most")]
    NameTooLong,
    /// A path is too long.
    #[error("must have {MAX_PATH_BYTES} bytes at most")]
    PathTooLong,
    /// A path is too deep.
    #[error("must have {MAX_DEPTH} levels at most")]
    TooDeep,
}

impl Name {
    /// Reads one name.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = nfc(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text == "." || text == ".." {
            return Err(NameError::Dots);
        }
        if text.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        if text.contains('\\') {
            return Err(NameError::Backslash);
        }
        if text.contains('/') {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::NameTooLong);
        }
        let folded = fold(&text);
        Ok(Self { text, folded })
    }

    /// Why some systems do not take it; none when all do.
    pub fn unportable(&self) -> Option<&'static str> {
        let text = self.text.as_str();
        if text.contains(UNPORTABLE) {
            return Some(r#"the name must not have <>:"|?* in this share"#);
        }
        if text.ends_with(['.', ' ']) {
            return Some("the name must not end with a dot or space in this share");
        }
        let stem = text.split('.').next().unwrap_or_default().trim_end();
        is_device(stem).then_some("the name must not be that of a device of Windows in this share")
    }

    /// The name of the `number`th copy (from 1 on) of it that `device` made on `date`.
    pub fn copy(&self, device: &str, date: &str, number: usize) -> Self {
        let (stem, extension) = split(&self.text);
        let (stem, extension) = (without_copy(stem), without_copy(extension));
        let device: String = device
            .chars()
            .filter(|it| !it.is_control() && !UNPORTABLE.contains(it) && !"/\\".contains(*it))
            .take(MAX_DEVICE_CHARS)
            .collect();
        let number = match number {
            0 | 1 => String::new(),
            number => format!(" {number}"),
        };
        let suffix = format!("{COPY}{device}, {date}{number})");
        let room = MAX_NAME_BYTES.saturating_sub(suffix.len());
        let extension = cut(extension, room);
        let stem = cut(stem, room - extension.len());
        let text = nfc(&format!("{stem}{suffix}{extension}"));
        let folded = fold(&text);
        Self { text, folded }
    }
}

/// The names of a path, which begins with `/` at the root of its share; none for the root.
///
/// # Errors
/// The rule that it breaks.
pub fn parse_path(path: &str) -> Result<Vec<Name>, NameError> {
    let rest = path.strip_prefix('/').ok_or(NameError::NotAbsolute)?;
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<Name> = rest.split('/').map(Name::parse).collect::<Result<_, _>>()?;
    if names.len() > MAX_DEPTH {
        return Err(NameError::TooDeep);
    }
    if names.iter().map(|name| name.text.len() + 1).sum::<usize>() > MAX_PATH_BYTES {
        return Err(NameError::PathTooLong);
    }
    Ok(names)
}

fn nfc(text: &str) -> String {
    static NFC: LazyLock<ComposingNormalizerBorrowed<'static>> =
        LazyLock::new(ComposingNormalizerBorrowed::new_nfc);
    NFC.normalize(text).into_owned()
}

fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    nfc(&CaseMapper::new().fold_string(text))
}

/// A name's stem, and its extension with the dot. A name that begins with its only dot has none.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 => name.split_at(at),
        _ => (name, ""),
    }
}

/// A stem without the suffix of a copy.
fn without_copy(stem: &str) -> &str {
    match stem.rfind(COPY) {
        Some(at) if stem.ends_with(')') => &stem[..at],
        _ => stem,
    }
}

/// The longest beginning of a text within so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether Windows takes a name for a device.
fn is_device(stem: &str) -> bool {
    let stem = stem.to_ascii_uppercase();
    let numbered = |name: &str| {
        let rest = stem.strip_prefix(name);
        rest.is_some_and(|rest| {
            matches!(rest, "¹" | "²" | "³") || matches!(rest.as_bytes(), [b'1'..=b'9'])
        })
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn names_are_compared_in_nfc_without_case() {
        let pairs = [
            ("Cafe\u{301}", "CAFÉ"),
            ("straße", "STRASSE"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("\u{212b}", "å"),
            ("ﬁle", "FILE"),
        ];
        for (one, other) in pairs {
            assert_eq!(name(one).folded, name(other).folded, "{one} {other}");
        }
        assert_ne!(name("a").folded, name("b").folded);
        assert_eq!(name("Cafe\u{301}").text, "Café");
    }

    #[test]
    fn a_name_that_breaks_a_rule_is_refused_by_it() {
        let wrong = [
            ("", NameError::Empty),
            (".", NameError::Dots),
            ("..", NameError::Dots),
            ("a\0", NameError::Control),
            ("a\u{85}", NameError::Control),
            ("a\\b", NameError::Backslash),
        ];
        for (text, rule) in wrong {
            assert_eq!(Name::parse(text), Err(rule), "{text:?}");
        }
        assert_eq!(Name::parse(&"é".repeat(128)), Err(NameError::NameTooLong));
        name(&"é".repeat(127));
    }

    #[test]
    fn a_path_that_breaks_a_rule_is_refused_by_it() {
        assert_eq!(parse_path("a"), Err(NameError::NotAbsolute));
        assert_eq!(parse_path("/a//b"), Err(NameError::Empty));
        assert_eq!(parse_path("/a/"), Err(NameError::Empty));
        assert_eq!(parse_path("/a/../b"), Err(NameError::Dots));
        assert_eq!(parse_path(&"/a".repeat(65)), Err(NameError::TooDeep));
        let long = format!("/{}", "x".repeat(250)).repeat(17);
        assert_eq!(parse_path(&long), Err(NameError::PathTooLong));
        assert_eq!(parse_path(&"/a".repeat(64)).unwrap().len(), 64);
        assert_eq!(parse_path("/").unwrap(), []);
    }

    #[test]
    fn names_that_some_system_does_not_take_are_not_portable() {
        for text in [
            "a:b", "a.", "a ", "con", "NUL.txt", "com1", "LPT9.a", "com²", "a?",
        ] {
            assert!(name(text).unportable().is_some(), "{text}");
        }
        for text in ["a b", ".a", "common", "com0", "com10", "nulls", "a.b"] {
            assert_eq!(name(text).unportable(), None, "{text}");
        }
    }

    #[test]
    fn a_copy_is_named_after_its_device_and_day_and_never_twice() {
        let copy = |text: &str, number| name(text).copy("lap/top:1", "2026-03-04", number).text;
        let first = copy("plan.txt", 1);
        assert_eq!(first, "plan (conflicted copy, laptop1, 2026-03-04).txt");
        assert_eq!(
            copy("plan.txt", 2),
            "plan (conflicted copy, laptop1, 2026-03-04 2).txt"
        );
        assert_eq!(
            copy(&first, 3),
            "plan (conflicted copy, laptop1, 2026-03-04 3).txt"
        );
        assert_eq!(
            copy(".env", 1),
            ".env (conflicted copy, laptop1, 2026-03-04)"
        );
        assert_eq!(
            copy("folder", 1),
            "folder (conflicted copy, laptop1, 2026-03-04)"
        );
        let long = copy(&format!("{}.txt", "é".repeat(125)), 1);
        assert!(
            long.len() <= MAX_NAME_BYTES && long.ends_with(", 2026-03-04).txt"),
            "{long}"
        );
    }

    #[test]
    fn the_name_of_a_copy_is_compared_without_case() {
        let one = name("Ä.TXT").copy("D", "2026-03-04", 1);
        let other = name("ä.txt").copy("d", "2026-03-04", 1);
        assert_eq!(one.folded, other.folded);
    }
}
