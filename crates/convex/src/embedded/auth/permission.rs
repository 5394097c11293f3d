//! What a deploy key may do.

use std::fmt;
use std::str::FromStr;

use crate::Secret;

/// Something that a deploy key permits, under the name that Convex's dashboard and errors give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// `deployment:data:view`: the streaming export.
    ViewData,
    /// `deployment:backups:import`: the streaming import.
    ImportBackups,
    /// `deployment:functions:runInternalQueries`: `sluice:byUser` and `sluice:getMany`.
    RunInternalQueries,
    /// `deployment:functions:runInternalMutations`: `sluice:remove`.
    RunInternalMutations,
    /// `deployment:functions:actAsUser`: to name a user to act as behind the key.
    ActAsUser,
}

impl Permission {
    const ALL: [Permission; 5] = [
        Permission::ViewData,
        Permission::ImportBackups,
        Permission::RunInternalQueries,
        Permission::RunInternalMutations,
        Permission::ActAsUser,
    ];

    fn name(self) -> &'static str {
        match self {
            Permission::ViewData => "deployment:data:view",
            Permission::ImportBackups => "deployment:backups:import",
            Permission::RunInternalQueries => "deployment:functions:runInternalQueries",
            Permission::RunInternalMutations => "deployment:functions:runInternalMutations",
            Permission::ActAsUser => "deployment:functions:actAsUser",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::embedded) struct Permissions(u8);

impl Permissions {
    pub const ALL: Permissions = Permissions(u8::MAX);

    pub fn contain(self, permission: Permission) -> bool {
        self.0 & 1 << permission as u8 != 0
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Permissions {
        let bits = permissions.into_iter();
        Permissions(bits.fold(0, |bits, permission| bits | 1 << permission as u8))
    }
}

/// A deploy key that permits only some operations. As text: `KEY=PERMISSION,PERMISSION`.
#[derive(Clone, Debug)]
pub struct LimitedKey {
    pub(in crate::embedded) key: Secret,
    pub(in crate::embedded) permissions: Permissions,
}

impl LimitedKey {
    /// A key that permits these operations and nothing else.
    pub fn new(key: impl Into<Secret>, permissions: &[Permission]) -> LimitedKey {
        LimitedKey {
            key: key.into(),
            permissions: permissions.iter().copied().collect(),
        }
    }
}

/// Why a text is no limited key. It never repeats the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitedKeyError {
    /// The key or its permissions are missing.
    #[error("a limited key has to be written as KEY=PERMISSION,PERMISSION")]
    Form,
    /// There is no permission of this name.
    #[error("there is no permission {0:?}; there are {all}", all = Permission::ALL.map(Permission::name).join(", "))]
    Permission(String),
}

impl FromStr for LimitedKey {
    type Err = LimitedKeyError;

    fn from_str(text: &str) -> Result<LimitedKey, LimitedKeyError> {
        // Keys may end in the padding of base64.
        let (key, names) = text.rsplit_once('=').ok_or(LimitedKeyError::Form)?;
        if key.is_empty() || names.is_empty() {
            return Err(LimitedKeyError::Form);
        }
        let permissions = names.split(',').map(|name| {
            let mut all = Permission::ALL.into_iter();
            all.find(|permission| permission.name() == name.trim())
                .ok_or_else(|| LimitedKeyError::Permission(name.trim().to_owned()))
        });
        let permissions: Vec<Permission> = permissions.collect::<Result<_, _>>()?;
        Ok(LimitedKey::new(key, &permissions))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_limited_key_is_read_from_text() {
        let text = "prod:name|abc==deployment:data:view, deployment:backups:import";
        let key: LimitedKey = text.parse().unwrap();
        assert_eq!(key.key.expose(), "prod:name|abc=");
        let permitted = Permission::ALL.map(|permission| key.permissions.contain(permission));
        assert_eq!(permitted, [true, true, false, false, false]);
    }

    #[test]
    fn an_unknown_permission_is_named_and_the_key_is_not() {
        let refusal = "s3cret=deployment:fly".parse::<LimitedKey>().unwrap_err();
        assert!(refusal.to_string().contains("deployment:fly"));
        assert!(!refusal.to_string().contains("s3cret"));
        for text in ["", "s3cret", "s3cret=", "=deployment:data:view"] {
            assert_eq!(
                text.parse::<LimitedKey>().unwrap_err(),
                LimitedKeyError::Form
            );
        }
    }
}
