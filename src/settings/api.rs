//! How the API answers, and whom.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::HeaderValue;
use clap::Args;
use sluice_api::auth::{Auth, AuthConfig};
use sluice_api::{ApiConfig, StreamLimits};
use sluice_convex::Secret;
use sluice_jobs::filesync::ContentsConfig;
use sluice_objects::Objects;
use url::Url;

use super::documents::DocumentSettings;
use super::help::HEADING;
use super::values::{between, dev_secret, http_url, listen, origin, service};
use crate::failure::{Context, Failure};

/// How the API answers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct ApiSettings {
    /// The address the API listens on
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SLUICE_LISTEN",
        default_value = "127.0.0.1:8080",
        value_parser = listen
    )]
    pub listen: SocketAddr,

    /// How long a request waits for its job before it answers 202, in seconds (0 to 300)
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_REQUEST_WAIT_SECS",
        default_value = "30",
        value_parser = between::<0, 300, u64>
    )]
    pub request_wait_secs: u64,

    /// Origins whose pages may call the API (CORS), such as `https://app.example.com`, with commas
    /// between [default: none]
    #[arg(
        long,
        value_name = "ORIGINS",
        env = "SLUICE_CORS_ORIGINS",
        value_delimiter = ',',
        value_parser = origin
    )]
    pub cors_origins: Vec<HeaderValue>,

    /// How many WebSockets and event streams may be open in this process at a time (1 to 1000000)
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_STREAMS",
        default_value = "5000",
        value_parser = between::<1, 1_000_000, usize>
    )]
    pub streams: usize,

    /// How many of them may be one user's (1 to 1000000)
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_STREAMS_PER_USER",
        default_value = "100",
        value_parser = between::<1, 1_000_000, usize>
    )]
    pub streams_per_user: usize,

    #[command(flatten)]
    pub documents: DocumentSettings,

    /// The most that a file may be long, in bytes (1 to 5497558138880)
    #[arg(
        long,
        value_name = "BYTES",
        env = "SLUICE_UPLOAD_LIMIT_BYTES",
        default_value = "5368709120",
        value_parser = between::<1, 5_497_558_138_880, u64>
    )]
    pub upload_limit_bytes: u64,

    /// How many files this process takes in at a time, each with up to 8 MiB of memory (1 to 100000)
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_UPLOADS",
        default_value = "64",
        value_parser = between::<1, 100_000, usize>
    )]
    pub uploads: usize,

    /// Services whose every write to a document is a job that the caller waits for, with commas
    /// between [default: none]
    #[arg(
        long,
        value_name = "SERVICES",
        env = "SLUICE_DOCUMENT_QUEUED_SERVICES",
        value_delimiter = ',',
        value_parser = service
    )]
    pub document_queued_services: Vec<String>,
}

impl ApiSettings {
    /// As the API takes them.
    pub fn config(&self, objects: Option<Objects>) -> ApiConfig {
        ApiConfig {
            request_wait: Duration::from_secs(self.request_wait_secs),
            cors_origins: self.cors_origins.clone(),
            streams: StreamLimits {
                all: self.streams,
                of_user: self.streams_per_user,
            },
            documents: self.documents.config(),
            queued_services: self.document_queued_services.clone(),
            contents: objects.map(|objects| ContentsConfig {
                objects,
                max_bytes: self.upload_limit_bytes,
                uploads: self.uploads,
            }),
        }
    }
}

/// Whose tokens the API accepts. At least one source of keys has to be set.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct AuthSettings {
    /// Where the public keys of the tokens' issuer are
    #[arg(long, value_name = "URL", env = "SLUICE_JWKS_URL", value_parser = http_url)]
    pub jwks_url: Option<Url>,

    /// The issuer that tokens must name (`iss`)
    #[arg(long, value_name = "ISSUER", env = "SLUICE_JWT_ISSUER")]
    pub jwt_issuer: Option<String>,

    /// The audience that tokens must name (`aud`)
    #[arg(long, value_name = "AUDIENCE", env = "SLUICE_JWT_AUDIENCE")]
    pub jwt_audience: Option<String>,

    #[command(flatten)]
    pub dev: DevSecretSettings,
}

impl AuthSettings {
    /// What checks tokens in production: those of an issuer or, for development, of a secret, never
    /// both. Who knows the secret could make themselves anybody beside the issuer.
    pub fn auth_of_one_source(&self) -> Result<Auth, Failure> {
        if self.jwks_url.is_some() && self.dev.dev_secret.is_some() {
            return Err(Failure::new(
                "there are two sources of keys for tokens, jwks_url and dev_secret",
            )
            .hint("unset SLUICE_DEV_SECRET, which is for development, or SLUICE_JWKS_URL"));
        }
        self.auth()
    }

    /// What checks tokens. Without any source of keys nobody could call the API, so that is
    /// refused.
    pub fn auth(&self) -> Result<Auth, Failure> {
        if self.jwks_url.is_none() && self.dev.dev_secret.is_none() {
            return Err(Failure::new("no source of keys for tokens")
                .hint("set SLUICE_JWKS_URL or, for development, SLUICE_DEV_SECRET"));
        }
        Auth::new(AuthConfig {
            dev_secret: self.dev.dev_secret.clone(),
            jwks_url: self.jwks_url.clone(),
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
        })
        .context("cannot check tokens with these settings")
    }
}

/// The secret behind development tokens.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct DevSecretSettings {
    /// The shared secret of development tokens, 32 bytes or more. Prefer the variable: flags are
    /// visible to other users
    #[arg(
        long,
        value_name = "SECRET",
        env = "SLUICE_DEV_SECRET",
        hide_env_values = true,
        hide_default_value = true,
        value_parser = dev_secret
    )]
    pub dev_secret: Option<Secret>,
}
