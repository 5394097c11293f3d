//! The issuer's public keys, fetched from its JWKS address (RFC 7517) and kept.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Client, Url};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::AuthError;
use crate::ApiError;

/// Time-out of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 3;
/// Keys older than this are fetched again, so that revoked ones go. Until that works the old ones stay in use.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// Least time between two fetches, whatever unknown key ids come in.
pub(super) const MIN_INTERVAL: Duration = Duration::from_secs(10);
/// No set of keys is longer than this, in bytes.
const MAX_SET_BYTES: usize = 1024 * 1024;

pub(super) struct Jwks {
    url: Url,
    client: Client,
    min_interval: Duration,
    kept: RwLock<Option<Kept>>,
    /// Held while fetching; when the last fetch began.
    last_fetch: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Kept {
    keys: Arc<JwkSet>,
    since: Instant,
}

/// Why a set of keys could not be had.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("longer than {MAX_SET_BYTES} bytes")]
    TooLong,
    #[error("not a JWKS: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl Jwks {
    pub(super) fn new(url: Url, min_interval: Duration) -> Result<Self, AuthError> {
        let client = Client::builder().timeout(ATTEMPT_TIMEOUT).build()?;
        Ok(Self {
            url,
            client,
            min_interval,
            kept: RwLock::new(None),
            last_fetch: Mutex::new(None),
        })
    }

    /// The key that a token of this key id and algorithm must be signed with; `None` when the issuer has no such key.
    pub(super) async fn key(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<DecodingKey>, ApiError> {
        let mut kept = self.kept();
        let known = |kept: &Option<Kept>| {
            let kept = kept.as_ref()?;
            find(&kept.keys, kid, algorithm)
        };
        let fresh = kept
            .as_ref()
            .is_some_and(|kept| kept.since.elapsed() < MAX_AGE);
        if !fresh || known(&kept).is_none() {
            self.refresh().await;
            kept = self.kept();
        }
        if kept.is_none() {
            return Err(ApiError::Unavailable("the token issuer's JWKS address"));
        }
        Ok(known(&kept))
    }

    fn kept(&self) -> Option<Kept> {
        self.kept
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Fetches the keys, unless that was done or tried a moment ago. Callers at the same time share one fetch.
    async fn refresh(&self) {
        let mut last_fetch = self.last_fetch.lock().await;
        if last_fetch.is_some_and(|begun| begun.elapsed() < self.min_interval) {
            return;
        }
        *last_fetch = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                metrics::counter!("sluice_jwks_fetches_total", "outcome" => "ok").increment(1);
                *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(Kept {
                    keys: Arc::new(keys),
                    since: Instant::now(),
                });
            }
            Err(error) => {
                metrics::counter!("sluice_jwks_fetches_total", "outcome" => "error").increment(1);
                tracing::warn!(%error, "the issuer's keys could not be fetched");
            }
        }
    }

    async fn fetch(&self) -> Result<JwkSet, FetchError> {
        let mut attempt = 1;
        loop {
            match self.attempt().await {
                Err(FetchError::Http(_)) if attempt < ATTEMPTS => {
                    let jitter = rand::random_range(0..100 << attempt);
                    tokio::time::sleep(Duration::from_millis(100 + jitter)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self) -> Result<JwkSet, FetchError> {
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
        Ok(serde_json::from_slice(&set)?)
    }
}

/// The key of that id, or the only one when the token names none.
fn find(keys: &JwkSet, kid: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
    let jwk = match kid {
        Some(kid) => keys.find(kid)?,
        None => match &keys.keys[..] {
            [only] => only,
            _ => return None,
        },
    };
    signs_with(jwk, algorithm)
        .then(|| DecodingKey::from_jwk(jwk).ok())
        .flatten()
        .filter(|key| key.family() == algorithm.family())
}

fn signs_with(jwk: &Jwk, algorithm: Algorithm) -> bool {
    let common = &jwk.common;
    let algorithm_fits = matches!(
        (common.key_algorithm, algorithm),
        (None, _)
            | (Some(KeyAlgorithm::RS256), Algorithm::RS256)
            | (Some(KeyAlgorithm::ES256), Algorithm::ES256)
    );
    let use_fits = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    algorithm_fits && use_fits
}
