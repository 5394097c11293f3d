//! Who asks for something of a share.

use super::DeviceName;

/// The holder of a token, in a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant.
    pub tenant: String,
    /// The user.
    pub user: String,
    /// The groups that the user is in, trusted until the token expires.
    pub groups: Vec<String>,
    /// Whether the user administers all shares of the tenant.
    pub is_admin: bool,
}

impl Caller {
    /// The device of the user that has this id.
    pub fn device<'a>(&'a self, id: &'a str) -> DeviceName<'a> {
        DeviceName {
            tenant: &self.tenant,
            user: &self.user,
            id,
        }
    }

    /// The groups as the functions read them; `true` for who administers all shares.
    pub(super) fn groups_json(&self) -> String {
        if self.is_admin {
            return "true".to_owned();
        }
        serde_json::json!(self.groups).to_string()
    }

    /// All names under which something can be granted to the caller.
    pub(super) fn grantees(&self) -> impl Iterator<Item = String> {
        let groups = self.groups.iter().map(|group| format!("g:{group}"));
        std::iter::once(format!("u:{}", self.user)).chain(groups)
    }
}

/// What may be done with a share. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// See it and download.
    Read = 1,
    /// Upload and apply changes.
    Write = 2,
    /// Grant, revoke, change its settings, and delete it.
    Admin = 3,
}

impl Level {
    pub(super) fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Read),
            2 => Some(Self::Write),
            3 => Some(Self::Admin),
            _ => None,
        }
    }
}

/// Who can see a share beside its owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Grantee {
    /// A user.
    User(String),
    /// All who are in a group.
    Group(String),
}

impl Grantee {
    pub(super) fn name(&self) -> String {
        match self {
            Self::User(user) => format!("u:{user}"),
            Self::Group(group) => format!("g:{group}"),
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once(':')?;
        match kind {
            "u" => Some(Self::User(rest.to_owned())),
            "g" => Some(Self::Group(rest.to_owned())),
            _ => None,
        }
    }
}
