//! The rule for user ids, wherever one comes in.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

/// Longest user id, in bytes.
const MAX_USER_BYTES: usize = 256;

/// A user id: 1 to 256 bytes of UTF-8 without control characters.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 256,
    pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
    example = "usr_demo1"
)]
#[expect(dead_code, reason = "describes values, which are strings")]
pub struct UserId(String);

/// The rule for user ids: 1 to 256 bytes, no control characters.
///
/// # Errors
/// The part of the rule that is broken.
pub fn check_user(user: &str) -> Result<(), &'static str> {
    if user.is_empty() || user.len() > MAX_USER_BYTES {
        Err("must be 1 to 256 bytes long")
    } else if user.chars().any(char::is_control) {
        Err("must not contain control characters")
    } else {
        Ok(())
    }
}

/// For `deserialize_with`: a user id that keeps to [`check_user`].
pub(super) fn user<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let user = String::deserialize(deserializer)?;
    check_user(&user).map_err(D::Error::custom)?;
    Ok(user)
}
