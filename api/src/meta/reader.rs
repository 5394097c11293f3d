//! Whose entries a read is about.

use sluice_jobs::meta::check_user;

use crate::ApiError;
use crate::auth::{Caller, Scope};

/// Whose entries a read is about: `user_id` if given, else the caller itself. Anybody else's need
/// `meta:read`.
pub(super) fn reader(caller: &Caller, user_id: Option<String>) -> Result<String, ApiError> {
    let user = match (user_id, caller.subject()) {
        (Some(user), _) => user,
        (None, Some(subject)) => subject.to_owned(),
        (None, None) => {
            return Err(ApiError::InvalidRequest(
                "userId: must be given, as the token names no subject".to_owned(),
            ));
        }
    };
    check_user(&user).map_err(|rule| ApiError::InvalidRequest(format!("userId: {rule}")))?;
    if caller.subject() != Some(user.as_str()) {
        caller.require(Scope::MetaRead)?;
    }
    Ok(user)
}
