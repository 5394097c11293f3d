//! Ids of what file sync keeps.

use ulid::Ulid;

/// The id of a share's root folder.
pub const ROOT: &str = "root";

/// A new id: the kind, such as `shr`, and a ULID in lower case.
pub fn new_id(kind: &str) -> String {
    let ulid = Ulid::from_datetime(std::time::SystemTime::now());
    format!("{kind}_{}", ulid.to_string().to_lowercase())
}

/// Whether a client may give this id to a node, change or device: 1 to 128 of letters, digits, `_`,
/// `-`, `.`, but none of `.`, `..` and the root's.
pub fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && !matches!(id, "." | ".." | ROOT)
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}
