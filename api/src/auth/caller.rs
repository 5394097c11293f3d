//! Who calls and what they may do.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluice_store::documents;

use super::token::Claims;
use super::{Denial, LEEWAY_SECS, Member};

/// No token matters for longer, in seconds since 1970; later times do not fit every clock.
const FAR: u64 = 1 << 40;
/// How often the clock is looked at by who waits for the end of a token.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);

/// What a token may allow. No scope includes another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `meta:read`: read any user's entries and jobs.
    MetaRead,
    /// `meta:write`: sync, prefetch and invalidate for any user, and read jobs.
    MetaWrite,
    /// `docs:read`: read any document.
    DocsRead,
    /// `docs:write`: write any document.
    DocsWrite,
    /// `docs:write:<service>`: write the documents of this service.
    DocsWriteTo(Box<str>),
    /// `files:read`: read the shares of file sync that the user may see, and keep one's devices.
    FilesRead,
    /// `files:write`: change the shares of file sync that the user may write to.
    FilesWrite,
    /// `tenant:admin`: administer every share of the tenant.
    TenantAdmin,
    /// `admin`: the board and its API with all actions, the metrics, and read jobs.
    Admin,
    /// `admin:read`: look at the board and its API, and read jobs.
    AdminRead,
}

impl Scope {
    /// Every scope there is, but for those that are narrowed to a service.
    pub const ALL: [Self; 9] = [
        Self::MetaRead,
        Self::MetaWrite,
        Self::DocsRead,
        Self::DocsWrite,
        Self::FilesRead,
        Self::FilesWrite,
        Self::TenantAdmin,
        Self::Admin,
        Self::AdminRead,
    ];
}

/// As it is written in a token.
impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MetaRead => out.write_str("meta:read"),
            Self::MetaWrite => out.write_str("meta:write"),
            Self::DocsRead => out.write_str("docs:read"),
            Self::DocsWrite => out.write_str("docs:write"),
            Self::DocsWriteTo(service) => write!(out, "docs:write:{service}"),
            Self::FilesRead => out.write_str("files:read"),
            Self::FilesWrite => out.write_str("files:write"),
            Self::TenantAdmin => out.write_str("tenant:admin"),
            Self::Admin => out.write_str("admin"),
            Self::AdminRead => out.write_str("admin:read"),
        }
    }
}

/// The text is not one of the scopes.
#[derive(Debug, thiserror::Error)]
#[error(
    "must be one of meta:read, meta:write, docs:read, docs:write, docs:write:<service>, \
     files:read, files:write, tenant:admin, admin, admin:read"
)]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        match text {
            "meta:read" => Ok(Self::MetaRead),
            "meta:write" => Ok(Self::MetaWrite),
            "docs:read" => Ok(Self::DocsRead),
            "docs:write" => Ok(Self::DocsWrite),
            "files:read" => Ok(Self::FilesRead),
            "files:write" => Ok(Self::FilesWrite),
            "tenant:admin" => Ok(Self::TenantAdmin),
            "admin" => Ok(Self::Admin),
            "admin:read" => Ok(Self::AdminRead),
            _ => text
                .strip_prefix("docs:write:")
                .filter(|service| documents::is_name(service))
                .map(|service| Self::DocsWriteTo(service.into()))
                .ok_or(UnknownScope),
        }
    }
}

/// The holder of a good token.
#[derive(Clone, Debug)]
pub struct Caller {
    subject: Option<String>,
    member: Result<Member, &'static str>,
    scopes: Vec<Scope>,
    expires_at: u64,
}

impl Caller {
    /// The user the token belongs to, if it belongs to one.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The user with tenant and groups.
    ///
    /// # Errors
    /// [`Denial::Unauthorized`] when one of the claims `sub`, `tenant_id` and `groups` is not as it
    /// has to be. Only who needs a member asks: other issuers mean other things by these names.
    pub fn member(&self) -> Result<&Member, Denial> {
        let member = self.member.as_ref();
        member.map_err(|&reason| Denial::Unauthorized(reason))
    }

    /// Whether the token carries `scope`.
    pub fn has(&self, scope: &Scope) -> bool {
        self.scopes.contains(scope)
    }

    /// Fails with [`Denial::Forbidden`] unless the token carries `scope`.
    pub fn require(&self, scope: Scope) -> Result<(), Denial> {
        if self.has(&scope) {
            Ok(())
        } else {
            Err(Denial::Forbidden(scope))
        }
    }

    /// Fails with [`Denial::Forbidden`] unless the token may write to the documents of `service`.
    pub(crate) fn require_documents(&self, service: &str) -> Result<(), Denial> {
        let narrowed = Scope::DocsWriteTo(service.into());
        if self.has(&Scope::DocsWrite) {
            Ok(())
        } else {
            self.require(narrowed)
        }
    }

    /// When the token expires, in seconds since 1970; none when that is so late that it is as good
    /// as never.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        Some(self.expires_at).filter(|&at| at < FAR)
    }

    /// Returns once the token is good no more.
    pub(crate) fn expired(&self) -> impl Future<Output = ()> + Send + use<> {
        passed(self.expires_at.saturating_add(LEEWAY_SECS))
    }
}

/// Returns once that time, in seconds since 1970, has passed.
pub(crate) fn passed(at: u64) -> impl Future<Output = ()> + Send + use<> {
    let end = UNIX_EPOCH + Duration::from_secs(at.min(FAR));
    async move {
        // Clocks may be set: look again now and then.
        while let Ok(left) = end.duration_since(SystemTime::now()) {
            tokio::time::sleep(left.min(LOOK_AT_CLOCK)).await;
        }
    }
}

impl From<Claims> for Caller {
    fn from(claims: Claims) -> Self {
        // Scopes of other services may stand beside ours.
        let scopes = claims.scopes();
        let scopes = scopes.filter_map(|scope| scope.parse().ok()).collect();
        let subject = claims.sub.filter(|subject| !subject.is_empty());
        Self {
            member: Member::of_claims(subject.as_deref(), claims.tenant_id, claims.groups),
            subject,
            scopes,
            expires_at: claims.exp as u64,
        }
    }
}
