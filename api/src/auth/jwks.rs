//! The issuer's public keys, fetched from its JWKS address (RFC 7517) and kept.

use std::error::Error as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::Value;
use sluice_retry::Pauses;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{AuthError, Denial};

/// Time-out of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt, which doubles from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Keys older than this are fetched again, so that revoked ones go. Until that works the old ones
/// stay in use.
pub(super) const MAX_AGE: Duration = Duration::from_secs(3600);
/// Least time between two fetches, whatever unknown key ids come in.
pub(super) const MIN_INTERVAL: Duration = Duration::from_secs(10);
/// No set of keys is longer than this, in bytes.
const MAX_SET_BYTES: usize = 1024 * 1024;

/// The issuer's keys. Cheap to clone.
#[derive(Clone)]
pub(super) struct Jwks(pub(super) Arc<Shared>);

pub(super) struct Shared {
    url: Url,
    client: Client,
    min_interval: Duration,
    max_age: Duration,
    kept: RwLock<Option<Kept>>,
    /// Held while fetching; when the last fetch began.
    last_fetch: Arc<Mutex<Option<Instant>>>,
}

/// The keys of one fetch.
pub(super) type Keys = Arc<[Jwk]>;

/// Whether both are the keys of the same fetch.
pub(super) fn is_same(one: &Keys, other: &Keys) -> bool {
    Arc::ptr_eq(one, other)
}

#[derive(Clone)]
struct Kept {
    keys: Keys,
    since: Instant,
}

/// Why a set of keys could not be had. The address stays out of it: its query may hold a key.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{}", chain(.0))]
    Http(reqwest::Error),
    #[error("longer than {MAX_SET_BYTES} bytes")]
    TooLong,
    #[error("not a JWKS: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

/// An error with its causes.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// What checks a token with a key.
type Checked<T> = Result<T, jsonwebtoken::errors::Error>;

impl Jwks {
    pub(super) fn new(
        url: Url,
        min_interval: Duration,
        max_age: Duration,
    ) -> Result<Self, AuthError> {
        let client = Client::builder().timeout(ATTEMPT_TIMEOUT).build()?;
        Ok(Self(Arc::new(Shared {
            url,
            client,
            min_interval,
            max_age,
            kept: RwLock::new(None),
            last_fetch: Arc::default(),
        })))
    }

    /// The keys that are kept, if any. Old ones serve while new ones are fetched.
    pub(super) fn keys(&self) -> Option<Keys> {
        let kept = self.kept()?;
        if kept.since.elapsed() >= self.0.max_age {
            self.renew();
        }
        Some(kept.keys)
    }

    /// What `check` says with those of the keys that a token of this key id and algorithm may be
    /// signed with, `None` when the issuer has no such key; and all keys.
    ///
    /// Only a token that none of the kept keys has signed waits for new ones.
    pub(super) async fn verify<T>(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        check: impl Fn(&DecodingKey) -> Checked<T>,
    ) -> Result<(Option<Checked<T>>, Keys), Denial> {
        if let Some(keys) = self.keys() {
            match try_all(&keys, kid, algorithm, &check) {
                Some(Err(error)) if is_of_another_key(&error, &keys, kid) => {}
                None => {}
                checked => return Ok((checked, keys)),
            }
        }
        self.renewed().await;
        let kept = self.kept();
        let kept = kept.ok_or(Denial::Unavailable("the token issuer's JWKS address"))?;
        let checked = try_all(&kept.keys, kid, algorithm, &check);
        Ok((checked, kept.keys))
    }

    fn kept(&self) -> Option<Kept> {
        let kept = self.0.kept.read();
        kept.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins to fetch the keys, unless that is being done, or was tried a moment ago.
    fn renew(&self) {
        let Ok(mut last_fetch) = self.0.last_fetch.clone().try_lock_owned() else {
            return;
        };
        if last_fetch.is_some_and(|begun| begun.elapsed() < self.0.min_interval) {
            return;
        }
        *last_fetch = Some(Instant::now());
        let shared = self.0.clone();
        tokio::spawn(async move {
            shared.fetch_and_keep().await;
            drop(last_fetch);
        });
    }

    /// Returns once the keys have been fetched, unless that was done or tried a moment ago. Callers
    /// at the same time share one fetch.
    async fn renewed(&self) {
        self.renew();
        drop(self.0.last_fetch.lock().await);
    }
}

impl Shared {
    async fn fetch_and_keep(&self) {
        match self.fetch().await {
            Ok(keys) => {
                metrics::counter!("sluice_jwks_fetches_total", "outcome" => "ok").increment(1);
                *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(Kept {
                    keys: keys.into(),
                    since: Instant::now(),
                });
            }
            Err(error) => {
                metrics::counter!("sluice_jwks_fetches_total", "outcome" => "error").increment(1);
                tracing::warn!(%error, "the issuer's keys could not be fetched");
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, FetchError> {
        let mut pauses = Pauses::new(FIRST_PAUSE, ATTEMPT_TIMEOUT);
        let mut attempt = 1;
        loop {
            match self.attempt().await {
                Err(FetchError::Http(_)) if attempt < ATTEMPTS => {
                    metrics::counter!("sluice_jwks_retries_total").increment(1);
                    tokio::time::sleep(pauses.next_pause()).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    pub(super) async fn attempt(&self) -> Result<Vec<Jwk>, FetchError> {
        let mut response = self
            .client
            .get(self.url.clone())
            .send()
            .await?
            .error_for_status()?;
        let mut set = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if set.len() + chunk.len() > MAX_SET_BYTES {
                return Err(FetchError::TooLong);
            }
            set.extend_from_slice(&chunk);
        }
        let Set { keys } = serde_json::from_slice(&set)?;
        // Keys of kinds that are not known here are not for us (RFC 7517, section 5).
        let keys = keys.into_iter();
        Ok(keys
            .filter_map(|key| serde_json::from_value(key).ok())
            .collect())
    }
}

/// A JWKS before its keys are looked at.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// What the first key says that has signed it, else what the last one says; `None` when no key
/// fits.
///
/// Of a token that names a key those of that id fit, or those without one when there are none; of
/// one that does not, all.
fn try_all<T>(
    keys: &[Jwk],
    kid: Option<&str>,
    algorithm: Algorithm,
    check: impl Fn(&DecodingKey) -> Checked<T>,
) -> Option<Checked<T>> {
    let named = has_kid(keys, kid).then_some(kid).flatten();
    let mut outcome = None;
    let fitting = keys
        .iter()
        .filter(|jwk| kid.is_none() || jwk.common.key_id.as_deref() == named)
        .filter(|jwk| signs_with(jwk, algorithm))
        .filter_map(|jwk| DecodingKey::from_jwk(jwk).ok());
    for key in fitting {
        let checked = check(&key);
        if !matches!(&checked, Err(error) if *error.kind() == ErrorKind::InvalidSignature) {
            return Some(checked);
        }
        outcome = Some(checked);
    }
    outcome
}

/// Whether a key that is not kept yet may have signed a token that was refused so: none of the kept
/// ones has its name.
fn is_of_another_key(error: &jsonwebtoken::errors::Error, keys: &[Jwk], kid: Option<&str>) -> bool {
    *error.kind() == ErrorKind::InvalidSignature && !has_kid(keys, kid)
}

fn has_kid(keys: &[Jwk], kid: Option<&str>) -> bool {
    kid.is_some() && keys.iter().any(|jwk| jwk.common.key_id.as_deref() == kid)
}

/// Whether the key is for signatures of this algorithm, by all that the issuer says of it.
fn signs_with(jwk: &Jwk, algorithm: Algorithm) -> bool {
    let common = &jwk.common;
    let kind_fits = match (&jwk.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::RS256) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => {
            key.curve == EllipticCurve::P256
        }
        _ => false,
    };
    let algorithm_fits = matches!(
        (common.key_algorithm, algorithm),
        (None, _)
            | (Some(KeyAlgorithm::RS256), Algorithm::RS256)
            | (Some(KeyAlgorithm::ES256), Algorithm::ES256)
    );
    let use_fits = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let operations = common.key_operations.as_ref();
    let operations_fit = operations.is_none_or(|all| all.contains(&KeyOperations::Verify));
    kind_fits && algorithm_fits && use_fits && operations_fit
}
