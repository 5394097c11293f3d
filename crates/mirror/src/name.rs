//! Names of files: when two are the same to the server, and which may be used on this machine.

use std::sync::LazyLock;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;

/// What a mirror keeps for itself at the top of its folder.
pub const OWN_FOLDER: &str = ".sluice-mirror";
/// The file that says what is not kept in step.
pub const IGNORE_FILE: &str = ".sluiceignore";
/// Longest name that file systems take, in bytes.
const MAX_BYTES: usize = 255;

/// What a name is compared by: full case folding of NFC.
pub fn fold(name: &str) -> String {
    static NFC: LazyLock<ComposingNormalizerBorrowed<'static>> =
        LazyLock::new(ComposingNormalizerBorrowed::new_nfc);
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let folded = CaseMapper::new()
        .fold_string(&NFC.normalize(name))
        .into_owned();
    NFC.normalize(&folded).into_owned()
}

/// Why a name that the server has cannot be that of a file on this machine; none when it can.
pub fn unusable(name: &str, is_top: bool) -> Option<&'static str> {
    if name.is_empty() || name == "." || name == ".." {
        return Some("its name would lead out of the folder");
    }
    if name.contains(['/', '\0']) {
        return Some("its name has a character that no file can have here");
    }
    if name.len() > MAX_BYTES {
        return Some("its name is too long");
    }
    if is_top && fold(name) == OWN_FOLDER {
        return Some("its name is that of the mirror's own folder");
    }
    None
}

/// The `number`th name, from 1 on, of a node while another takes its place.
pub fn passing(id: &str, number: usize) -> String {
    let number = if number == 1 {
        String::new()
    } else {
        format!("-{number}")
    };
    format!("{}{number}", passing_stem(id))
}

/// Whether a name is one that a node had while another took its place.
pub fn is_passing(name: &str, id: &str) -> bool {
    name.starts_with(&passing_stem(id))
}

fn passing_stem(id: &str) -> String {
    format!(".sluice-moving-{}", id.chars().take(64).collect::<String>())
}

/// The `number`th name, from 1 on, for a file beside one that has the same name but for its case.
pub fn beside(name: &str, number: usize) -> String {
    let (stem, extension) = match name.rfind('.') {
        Some(at) if at > 0 => name.split_at(at),
        _ => (name, ""),
    };
    let number = if number == 1 {
        String::new()
    } else {
        format!(" {number}")
    };
    let suffix = format!(" (same name{number})");
    let room = MAX_BYTES.saturating_sub(suffix.len() + extension.len());
    let mut end = stem.len().min(room);
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}{extension}", &stem[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_nfc_without_case() {
        for (one, other) in [("straße", "STRASSE"), ("Cafe\u{301}", "CAFÉ"), ("a", "A")] {
            assert_eq!(fold(one), fold(other));
        }
        assert_ne!(fold("a"), fold("b"));
    }

    #[test]
    fn a_name_that_would_leave_the_folder_is_unusable() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "/etc",
            "a\0",
            ".SLUICE-mirror",
            &"x".repeat(256),
        ] {
            assert!(unusable(name, true).is_some(), "{name:?}");
        }
        for name in ["...", "a", "..a", "é"] {
            assert_eq!(unusable(name, true), None, "{name:?}");
        }
        assert_eq!(unusable(OWN_FOLDER, false), None);
    }
}
