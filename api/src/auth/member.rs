//! Of which tenant a caller is: the claims that file sync goes by.

use serde_json::Value;
use sluice_jobs::meta::check_user;

/// The tenant of development tokens that name no other.
pub const DEFAULT_TENANT: &str = "default";
/// Most groups that a token may name.
pub const MAX_GROUPS: usize = 100;

/// Longest name of a tenant, and of a group, in bytes.
const MAX_TENANT_BYTES: usize = 128;
const MAX_GROUP_BYTES: usize = 256;

const NO_USER: &str = "the token has no sub, which file sync needs";
const NO_TENANT: &str = "the token has no tenant_id, which file sync needs";
const USER_RULE: &str =
    "the sub of the token must be 1 to 256 bytes long, without control characters";
const TENANT_RULE: &str = "the tenant_id of the token must be a text of 1 to 128 bytes without \
     control characters and braces";
const GROUPS_RULE: &str = "the groups of the token must be a list of at most 100 texts";
const GROUP_RULE: &str = "each of the groups of the token must be a text of 1 to 256 bytes \
     without control characters";

/// A user of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `tenant_id`.
    pub tenant: String,
    /// `sub`.
    pub user: String,
    /// `groups`: at most [`MAX_GROUPS`], in order, each once. Trusted until the token expires.
    pub groups: Vec<String>,
}

impl Member {
    /// Of the claims of a token.
    ///
    /// # Errors
    /// The rule that one of them breaks. A token is still good for those who do not ask.
    pub(super) fn of_claims(
        user: Option<&str>,
        tenant: Option<Value>,
        groups: Option<Value>,
    ) -> Result<Self, &'static str> {
        let user = user.ok_or(NO_USER)?;
        check_user(user).map_err(|_| USER_RULE)?;
        let tenant = text(tenant.ok_or(NO_TENANT)?).ok_or(TENANT_RULE)?;
        check_tenant(&tenant).map_err(|_| TENANT_RULE)?;
        let groups = match groups {
            None => Vec::new(),
            Some(Value::Array(groups)) if groups.len() <= MAX_GROUPS => groups,
            Some(_) => return Err(GROUPS_RULE),
        };
        let groups = groups.into_iter().map(|group| {
            let group = text(group).filter(|group| check_group(group).is_ok());
            group.ok_or(GROUP_RULE)
        });
        let mut groups = groups.collect::<Result<Vec<_>, _>>()?;
        groups.sort_unstable();
        groups.dedup();
        Ok(Self {
            tenant,
            user: user.to_owned(),
            groups,
        })
    }
}

/// The rule for names of tenants: 1 to 128 bytes, no control characters, no braces.
///
/// # Errors
/// The part of the rule that is broken.
pub fn check_tenant(tenant: &str) -> Result<(), &'static str> {
    if tenant.is_empty() || tenant.len() > MAX_TENANT_BYTES {
        Err("must be 1 to 128 bytes long")
    } else if tenant.chars().any(char::is_control) {
        Err("must not contain control characters")
    } else if tenant.contains(['{', '}']) {
        Err("must not contain braces")
    } else {
        Ok(())
    }
}

/// The rule for names of groups: 1 to 256 bytes, no control characters.
///
/// # Errors
/// The part of the rule that is broken.
pub fn check_group(group: &str) -> Result<(), &'static str> {
    if group.is_empty() || group.len() > MAX_GROUP_BYTES {
        Err("must be 1 to 256 bytes long")
    } else if group.chars().any(char::is_control) {
        Err("must not contain control characters")
    } else {
        Ok(())
    }
}

fn text(claim: Value) -> Option<String> {
    match claim {
        Value::String(text) => Some(text),
        _ => None,
    }
}
