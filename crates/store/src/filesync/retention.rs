//! What is kept, and for how long: the log, tombstones, and versions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use futures_util::stream::{Stream, TryStreamExt, iter, try_unfold};

use super::functions::FUNCTIONS;
use super::keys::TENANTS;
use super::{Filesync, FilesyncError, Keys};

/// Entries or steps of one call.
const CHUNK: u64 = 500;
/// Members of a set that one call reads.
const SCAN_COUNT: usize = 100;

/// How long what happened in a share is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Entries of the log that are younger stay.
    pub age: Duration,
    /// So many entries of the log stay in any case.
    pub entries: u64,
    /// Versions stay so long after their files hold others. A file has 100 at most.
    pub version_age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(30 * 24 * 60 * 60),
            entries: 100_000,
            version_age: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

impl Filesync {
    /// The tenants that have shares or devices. One that comes meanwhile may be left out, and one may
    /// come twice.
    pub fn tenants(&self) -> impl Stream<Item = Result<String, FilesyncError>> + Send {
        self.members(TENANTS.to_owned())
    }

    /// The shares of a tenant, as [`Filesync::tenants`].
    pub fn tenant_shares(
        &self,
        tenant: &str,
    ) -> impl Stream<Item = Result<String, FilesyncError>> + Send + use<'_> {
        self.members(Keys::new(tenant).of("shares"))
    }

    /// The members of a set, page by page.
    fn members(
        &self,
        key: String,
    ) -> impl Stream<Item = Result<String, FilesyncError>> + Send + use<'_> {
        let pages = try_unfold(Some(0_u64), move |place| {
            let key = key.clone();
            async move {
                let Some(place) = place else {
                    return Ok::<_, FilesyncError>(None);
                };
                let mut scan = redis::cmd("SSCAN");
                scan.arg(key).arg(place).arg("COUNT").arg(SCAN_COUNT);
                let (next, members): (u64, Vec<String>) =
                    self.valkey.query("filesync_members", &scan).await?;
                let members = iter(members.into_iter().map(Ok));
                Ok(Some((members, Some(next).filter(|&next| next > 0))))
            }
        });
        pages.try_flatten()
    }

    /// Trims a share's log, removes what was deleted before it begins and conflicts that were resolved
    /// before, and ends old versions. Returns
    /// how much there was to do.
    ///
    /// # Errors
    /// [`FilesyncError::Store`]; what was done stays done.
    pub async fn trim(
        &self,
        tenant: &str,
        share: &str,
        retention: &Retention,
    ) -> Result<u64, FilesyncError> {
        let key = Keys::new(tenant).share(share);
        let before = before(retention.age);
        let mut done = 0;
        loop {
            let mut call = FUNCTIONS.trim.command(&[&key]);
            call.arg(&before).arg(retention.entries).arg(CHUNK);
            call.arg(millis_before(retention.age));
            let gone: [u64; 3] = FUNCTIONS.trim.run(&self.valkey, &call).await?;
            done += gone.iter().sum::<u64>();
            if gone.iter().all(|&gone| gone < CHUNK) {
                break;
            }
        }
        done += self.sweep(&key).await?;
        loop {
            let mut call = FUNCTIONS.version_trim.command(&[&key]);
            call.arg(millis_before(retention.version_age)).arg(CHUNK);
            let looked: u64 = FUNCTIONS.version_trim.run(&self.valkey, &call).await?;
            done += looked;
            if looked < CHUNK {
                return Ok(done);
            }
        }
    }

    /// Trims the feed of a tenant. Returns how many entries went.
    ///
    /// # Errors
    /// [`FilesyncError::Store`]; what was done stays done.
    pub async fn trim_feed(
        &self,
        tenant: &str,
        retention: &Retention,
    ) -> Result<u64, FilesyncError> {
        let key = Keys::new(tenant).of("feed");
        let mut done = 0;
        loop {
            let mut call = FUNCTIONS.trim_feed.command(&[&key]);
            call.arg(CHUNK).arg(retention.entries);
            let gone: u64 = FUNCTIONS.trim_feed.run(&self.valkey, &call).await?;
            done += gone;
            if gone < CHUNK {
                return Ok(done);
            }
        }
    }

    /// Some of the tenant's shares that were deleted and of which something may be left.
    ///
    /// # Errors
    /// [`FilesyncError::Store`].
    pub async fn removed_shares(&self, tenant: &str) -> Result<Vec<String>, FilesyncError> {
        let mut some = redis::cmd("SRANDMEMBER");
        some.arg(Keys::new(tenant).of("removed")).arg(1_000);
        Ok(self.valkey.query("filesync_removed", &some).await?)
    }

    /// Removes what is left of a share that was deleted, but for the bytes of its contents, which are
    /// garbage then. Returns how much there was to do.
    ///
    /// # Errors
    /// [`FilesyncError::Store`]; what was done stays done.
    pub async fn remove_share(&self, tenant: &str, share: &str) -> Result<u64, FilesyncError> {
        let keys = Keys::new(tenant);
        let done = self.sweep(&keys.share(share)).await?;
        let mut removed = redis::cmd("SREM");
        removed.arg(keys.of("removed")).arg(share);
        let _: u64 = self.valkey.query("filesync_removed", &removed).await?;
        Ok(done)
    }

    /// Removes what is doomed in a share.
    async fn sweep(&self, key: &str) -> Result<u64, FilesyncError> {
        let mut done = 0;
        loop {
            let mut call = FUNCTIONS.sweep.command(&[key]);
            call.arg(CHUNK / 10);
            let steps: u64 = FUNCTIONS.sweep.run(&self.valkey, &call).await?;
            done += steps;
            if steps == 0 {
                return Ok(done);
            }
        }
    }
}

/// So long ago, as the log writes times.
fn before(age: Duration) -> String {
    let time = DateTime::from_timestamp_millis(millis_before(age)).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// So long ago, in ms since 1970.
fn millis_before(age: Duration) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let then = now.unwrap_or_default().saturating_sub(age);
    i64::try_from(then.as_millis()).unwrap_or(i64::MAX)
}
