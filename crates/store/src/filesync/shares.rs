//! Shares: made, listed, granted, revoked, deleted.

use std::collections::{BTreeMap, BTreeSet};

use redis::Cmd;

use super::functions::FUNCTIONS;
use super::{Caller, Filesync, FilesyncError, Grantee, Keys, Level, new_id};
use crate::StoreError;

/// Most grants of a share.
pub(super) const MAX_GRANTS: usize = 10_000;

/// What a share is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewShare {
    /// As people see it.
    pub name: String,
    /// How it behaves.
    pub settings: ShareSettings,
}

/// How a share behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareSettings {
    /// Most bytes of versions and open uploads; none for no limit.
    pub quota: Option<u64>,
    /// Whether names that some systems do not take are refused.
    pub portable_names: bool,
    /// Most deletions by one device within an hour, in per cent of the share's nodes; none for no
    /// limit.
    pub mass_delete_limit: Option<u8>,
}

impl Default for ShareSettings {
    fn default() -> Self {
        Self {
            quota: None,
            portable_names: true,
            mass_delete_limit: None,
        }
    }
}

/// What is to change about a share; none to keep what is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShareChange {
    /// As people see it.
    pub name: Option<String>,
    /// Most bytes of versions and open uploads; none in it for no limit.
    pub quota: Option<Option<u64>>,
    /// Whether names that some systems do not take are refused.
    pub portable_names: Option<bool>,
    /// Most deletions, as [`ShareSettings`] has it; none in it for no limit.
    pub mass_delete_limit: Option<Option<u8>>,
}

/// A share as one caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Its id.
    pub id: String,
    /// As people see it.
    pub name: String,
    /// The user who made it.
    pub owner: String,
    /// What the caller may do.
    pub level: Level,
    /// How it behaves.
    pub settings: ShareSettings,
    /// Bytes of its versions.
    pub used: u64,
    /// Declared bytes of open uploads.
    pub reserved: u64,
    /// The position of its last change.
    pub head: u64,
    /// The first position that its log has.
    pub floor: u64,
    /// When it was made, in ms since 1970.
    pub created: u64,
}

sluice_valkey::statuses! {
    enum Look {
        Found = "found",
        NotFound = "not_found",
    }
}

sluice_valkey::statuses! {
    /// How a change of a share went.
    enum Outcome {
        Created = "created",
        Changed = "changed",
        Unchanged = "unchanged",
        Deleted = "deleted",
        Missing = "missing",
        Owner = "owner",
        Full = "full",
        Forbidden = "forbidden",
        NotFound = "not_found",
    }
}

impl Outcome {
    fn done(self) -> Result<(), FilesyncError> {
        match self {
            Self::NotFound => Err(FilesyncError::NotFound("share")),
            Self::Missing => Err(FilesyncError::NotFound("grant")),
            Self::Forbidden => Err(FilesyncError::Forbidden),
            Self::Owner => Err(FilesyncError::OwnerGrant),
            Self::Full => Err(FilesyncError::TooManyGrants),
            Self::Created | Self::Changed | Self::Unchanged | Self::Deleted => Ok(()),
        }
    }
}

impl Filesync {
    /// Makes a share, which belongs to the caller.
    ///
    /// # Errors
    /// [`FilesyncError::Store`].
    pub async fn create_share(
        &self,
        caller: &Caller,
        share: &NewShare,
    ) -> Result<Share, FilesyncError> {
        let id = new_id("shr");
        self.know_tenant(&caller.tenant).await?;
        let settings = &share.settings;
        let mut call = call(&FUNCTIONS.share_create, caller, &id);
        call.arg(&share.name)
            .arg(new_id("epo"))
            .arg(optional(settings.quota))
            .arg(u8::from(settings.portable_names))
            .arg(optional(settings.mass_delete_limit))
            .arg(new_id("chg"));
        let changed: Outcome = FUNCTIONS.share_create.run(&self.valkey, &call).await?;
        changed.done()?;
        self.share(caller, &id).await
    }

    /// A share that the caller can see.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Store`].
    pub async fn share(&self, caller: &Caller, id: &str) -> Result<Share, FilesyncError> {
        let call = call(&FUNCTIONS.share_read, caller, id);
        let answer: Answer = FUNCTIONS.share_read.run(&self.valkey, &call).await?;
        read(id, answer)?.ok_or(FilesyncError::NotFound("share"))
    }

    /// The shares that the caller can see, by id, behind `after`, `limit` at most; and behind which id
    /// the next page begins, none after the last.
    ///
    /// # Errors
    /// [`FilesyncError::Store`].
    pub async fn shares(
        &self,
        caller: &Caller,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Share>, Option<String>), FilesyncError> {
        let ids = self.share_ids(caller).await?.into_iter();
        let behind = ids.filter(|id| after.is_none_or(|after| id.as_str() > after));
        let mut ids: Vec<String> = behind.take(limit.saturating_add(1)).collect();
        let is_more = ids.len() > limit;
        ids.truncate(limit);
        let calls = ids.iter();
        let calls = calls.map(|id| call(&FUNCTIONS.share_read, caller, id));
        let answers: Vec<Answer> = FUNCTIONS
            .share_read
            .run_all(&self.valkey, calls.collect())
            .await?;
        let shares = ids.iter().zip(answers);
        let shares = shares.map(|(id, answer)| read(id, answer));
        // One that was revoked meanwhile is left out.
        let shares = shares.collect::<Result<Vec<_>, _>>()?;
        let next = ids.pop().filter(|_| is_more);
        Ok((shares.into_iter().flatten().collect(), next))
    }

    /// The ids of the shares that the caller can see.
    ///
    /// # Errors
    /// [`FilesyncError::Store`].
    pub async fn share_ids(&self, caller: &Caller) -> Result<BTreeSet<String>, FilesyncError> {
        let keys = Self::keys(caller);
        let mut union = redis::cmd("SUNION");
        if caller.is_admin {
            union.arg(keys.of("shares"));
        }
        for grantee in caller.grantees() {
            union.arg(keys.of(&format!("granted:{grantee}")));
        }
        Ok(self.valkey.query("filesync_shares", &union).await?)
    }

    /// Who can see a share beside its owner, and what they may do.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Forbidden`] for callers who do not administer
    /// it, [`FilesyncError::Store`].
    pub async fn grants(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<Vec<(Grantee, Level)>, FilesyncError> {
        if self.share(caller, id).await?.level < Level::Admin {
            return Err(FilesyncError::Forbidden);
        }
        let mut all = redis::cmd("HGETALL");
        all.arg(format!("{}:grants", Self::keys(caller).share(id)));
        let all: BTreeMap<String, String> = self.valkey.query("filesync_grants", &all).await?;
        let grants = all.iter().map(|(grantee, value)| {
            let level = value.get(..1).and_then(|level| level.parse().ok());
            Some((Grantee::from_name(grantee)?, Level::from_number(level?)?))
        });
        grants
            .collect::<Option<_>>()
            .ok_or_else(|| StoreError::Corrupt("a grant").into())
    }

    /// Grants a share, or changes what was granted.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Forbidden`] for callers who do not administer
    /// it, [`FilesyncError::OwnerGrant`], [`FilesyncError::TooManyGrants`],
    /// [`FilesyncError::Store`].
    pub async fn grant(
        &self,
        caller: &Caller,
        id: &str,
        grantee: &Grantee,
        level: Level,
    ) -> Result<(), FilesyncError> {
        self.set_grant(caller, id, grantee, level as u8).await
    }

    /// Takes back what was granted.
    ///
    /// # Errors
    /// As [`Filesync::grant`]; [`FilesyncError::NotFound`] also when nothing was granted.
    pub async fn revoke(
        &self,
        caller: &Caller,
        id: &str,
        grantee: &Grantee,
    ) -> Result<(), FilesyncError> {
        self.set_grant(caller, id, grantee, 0).await
    }

    async fn set_grant(
        &self,
        caller: &Caller,
        id: &str,
        grantee: &Grantee,
        level: u8,
    ) -> Result<(), FilesyncError> {
        let mut call = call(&FUNCTIONS.share_grant, caller, id);
        call.arg(grantee.name())
            .arg(level)
            .arg(new_id("chg"))
            .arg(MAX_GRANTS);
        let changed: Outcome = FUNCTIONS.share_grant.run(&self.valkey, &call).await?;
        changed.done()
    }

    /// Gives a share another name or other settings.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Forbidden`], [`FilesyncError::Store`].
    pub async fn change_share(
        &self,
        caller: &Caller,
        id: &str,
        change: &ShareChange,
    ) -> Result<Share, FilesyncError> {
        let mut call = call(&FUNCTIONS.share_set, caller, id);
        let fields = [
            ("name", change.name.clone()),
            ("quota", change.quota.map(optional)),
            (
                "portable",
                change.portable_names.map(|is| u8::from(is).to_string()),
            ),
            ("guard", change.mass_delete_limit.map(optional)),
        ];
        for (field, value) in fields {
            if let Some(value) = value {
                call.arg(field).arg(value);
            }
        }
        let changed: Outcome = FUNCTIONS.share_set.run(&self.valkey, &call).await?;
        changed.done()?;
        self.share(caller, id).await
    }

    /// Deletes a share with all that is in it.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Forbidden`], [`FilesyncError::Store`].
    pub async fn delete_share(&self, caller: &Caller, id: &str) -> Result<(), FilesyncError> {
        let mut call = call(&FUNCTIONS.share_delete, caller, id);
        call.arg(new_id("chg"));
        let changed: Outcome = FUNCTIONS.share_delete.run(&self.valkey, &call).await?;
        changed.done()
    }
}

/// The status, the level, and fields of a share with their values.
type Answer = (Look, Option<u8>, Option<BTreeMap<String, String>>);

fn read(id: &str, answer: Answer) -> Result<Option<Share>, FilesyncError> {
    let (Look::Found, Some(level), Some(fields)) = answer else {
        return Ok(None);
    };
    let share = || {
        let text = |name: &str| fields.get(name).cloned();
        let number = |name: &str| fields.get(name)?.parse().ok();
        Some(Share {
            id: id.to_owned(),
            name: text("name")?,
            owner: text("owner")?,
            level: Level::from_number(level)?,
            settings: ShareSettings {
                quota: number("quota"),
                portable_names: fields.get("portable")? == "1",
                mass_delete_limit: fields.get("guard")?.parse().ok(),
            },
            used: number("used")?,
            reserved: number("reserved")?,
            head: number("head")?,
            floor: number("floor")?,
            created: number("created")?,
        })
    };
    share()
        .map(Some)
        .ok_or_else(|| StoreError::Corrupt("a share").into())
}

/// The call of a function by a caller.
pub(super) fn call(function: &sluice_valkey::Function, caller: &Caller, share: &str) -> Cmd {
    let key = Keys::new(&caller.tenant).share(share);
    let mut call = function.command(&[&key]);
    call.arg(&caller.user).arg(caller.groups_json());
    call
}

fn optional(number: Option<impl ToString>) -> String {
    number.map(|it| it.to_string()).unwrap_or_default()
}
