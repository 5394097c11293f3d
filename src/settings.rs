//! What can be set, one struct per concern.
//!
//! Each field is a flag of the commands that need it; its doc comment is the flag's help and its `env` names the
//! variable. [`file`] says how the values of `sluice.toml` come in. Values are checked when they are parsed, so a
//! command that starts has valid settings; an error names the setting and the rule.

pub mod file;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sluice_api::ApiConfig;
use sluice_api::auth::{Auth, AuthConfig};
use sluice_convex::{Client, ClientConfig, FilesVia, Secret};
use sluice_store::cache::{CacheConfig, MAX_LIMIT_BYTES};
use url::Url;

use crate::data_folder::Addresses;
use crate::failure::{Context, Failure};

/// Under which heading `--help` lists what is below.
const HEADING: &str = "Settings";

/// Where `sluice convex` and Convex's own local backend listen.
const LOCAL_CONVEX: &str = "http://127.0.0.1:3210";

/// HS256 asks for a key at least as long as its hash.
const SHORTEST_SECRET: usize = 32;

/// Where state is kept on this machine.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct DataSettings {
    /// The folder that holds the state of `sluice dev`
    #[arg(
        long,
        value_name = "DIR",
        env = "SLUICE_DATA",
        default_value = ".sluice"
    )]
    pub data: PathBuf,
}

/// How this process tells what it does.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct LogSettings {
    /// What to log: a level, or directives such as `info,sluice_queue=debug`. RUST_LOG is the next best source
    #[arg(long, global = true, value_name = "FILTER", env = "SLUICE_LOG")]
    pub log: Option<String>,

    /// How a log line looks
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "SLUICE_LOG_FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For reading.
    Text,
    /// One JSON object a line.
    Json,
}

/// How the API answers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct ApiSettings {
    /// The address the API listens on
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SLUICE_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: SocketAddr,

    /// How long a request waits for its job before it answers 202, in seconds (0 to 300)
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_REQUEST_WAIT_SECS",
        default_value = "30",
        value_parser = clap::value_parser!(u64).range(0..=300)
    )]
    pub request_wait_secs: u64,
}

impl ApiSettings {
    /// As the API takes them.
    pub fn config(&self) -> ApiConfig {
        ApiConfig {
            request_wait: Duration::from_secs(self.request_wait_secs),
            ..ApiConfig::default()
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
    /// What checks tokens. Without any source of keys nobody could call the API, so that is refused.
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
    /// The shared secret of development tokens, 32 bytes or more. Prefer the variable: flags are visible to other users
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

/// Where Valkey is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct ValkeySettings {
    /// Valkey's address, such as redis://:password@127.0.0.1:6379
    #[arg(
        long,
        value_name = "URL",
        env = "SLUICE_VALKEY_URL",
        hide_env_values = true,
        hide_default_value = true,
        value_parser = valkey_url
    )]
    pub valkey_url: Option<ValkeyUrl>,
}

impl ValkeySettings {
    /// What is not set is taken from a running `sluice dev`.
    pub fn or(self, running: Option<&Addresses>) -> Self {
        Self {
            valkey_url: self
                .valkey_url
                .or_else(|| running.map(|addresses| ValkeyUrl(addresses.valkey.clone()))),
        }
    }

    /// The address, password included.
    pub fn url(&self) -> Result<&str, Failure> {
        match &self.valkey_url {
            Some(url) => Ok(&url.0),
            None => Err(not_set("valkey_url", "SLUICE_VALKEY_URL")),
        }
    }
}

/// An address that may hold a password, which is why it is not printed.
#[derive(Clone)]
pub struct ValkeyUrl(String);

impl fmt::Debug for ValkeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValkeyUrl(…)")
    }
}

/// How many connections one process holds to Valkey.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct PoolSettings {
    /// The largest number of pooled connections to Valkey (1 to 1000)
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_VALKEY_POOL",
        default_value = "32",
        value_parser = at_most::<1000>
    )]
    pub valkey_pool: usize,
}

/// Where Convex is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct ConvexSettings {
    /// The address of the Convex deployment [default: http://127.0.0.1:3210]
    #[arg(long, value_name = "URL", env = "SLUICE_CONVEX_URL", value_parser = http_url)]
    pub convex_url: Option<Url>,

    #[command(flatten)]
    pub key: ConvexKeySettings,
}

/// What opens Convex.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct ConvexKeySettings {
    /// The deploy key of Convex. Prefer the variable: flags are visible to other users
    #[arg(
        long,
        value_name = "KEY",
        env = "SLUICE_CONVEX_KEY",
        hide_env_values = true,
        hide_default_value = true,
        value_parser = secret
    )]
    pub convex_key: Option<Secret>,
}

impl ConvexSettings {
    /// What is not set is taken from a running `sluice dev`.
    ///
    /// Address and key go together: the key is not sent to an address that was set by itself.
    pub fn or(self, running: Option<&Addresses>) -> Self {
        match running {
            Some(addresses) if self.convex_url.is_none() && self.key.convex_key.is_none() => Self {
                convex_url: Url::parse(&addresses.convex).ok(),
                key: ConvexKeySettings {
                    convex_key: Some(Secret::from(addresses.convex_key.clone())),
                },
            },
            _ => self,
        }
    }

    /// A client of the deployment.
    pub fn client(&self) -> Result<Client, Failure> {
        let url = match &self.convex_url {
            Some(url) => url.clone(),
            None => Url::parse(LOCAL_CONVEX).context("cannot use the default address")?,
        };
        let key = self.key.convex_key.clone();
        let key = key.ok_or_else(|| not_set("convex_key", "SLUICE_CONVEX_KEY"))?;
        Client::new(ClientConfig::new(url, key)).context("cannot use convex_url and convex_key")
    }
}

/// How a user's files are read from Convex.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct FilesSettings {
    /// Through the deployed functions, through the streaming export, or whichever the deployment has
    #[arg(
        long,
        value_enum,
        value_name = "WAY",
        env = "SLUICE_FILES_VIA",
        default_value = "auto"
    )]
    files_via: FilesViaSetting,
}

impl FilesSettings {
    /// The reader to use.
    pub fn via(&self) -> FilesVia {
        match self.files_via {
            FilesViaSetting::Auto => FilesVia::Auto,
            FilesViaSetting::Functions => FilesVia::Functions,
            FilesViaSetting::Export => FilesVia::Export,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FilesViaSetting {
    /// Ask the deployment once.
    Auto,
    /// The functions of convex/functions, by index.
    Functions,
    /// The streaming export: works everywhere, reads the whole table.
    Export,
}

/// What is cached, and for how long.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct CacheSettings {
    /// The most that one user's bulk set may hold, in bytes of id and entry (1 to 450000000)
    #[arg(
        long,
        value_name = "BYTES",
        env = "SLUICE_SYNC_LIMIT_BYTES",
        default_value = "450000000",
        value_parser = clap::value_parser!(u64).range(1..=MAX_LIMIT_BYTES)
    )]
    pub sync_limit_bytes: u64,

    /// How long a bulk set lives, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_SYNC_TTL_SECS",
        default_value = "86400",
        value_parser = seconds()
    )]
    pub sync_ttl_secs: u64,

    /// How long a single entry lives, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_ENTRY_TTL_SECS",
        default_value = "3600",
        value_parser = seconds()
    )]
    pub entry_ttl_secs: u64,

    /// How many files the group of the most active ones has at most (1 to 100000)
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_MOST_ACTIVE_LIMIT",
        default_value = "1000",
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    pub most_active_limit: u32,

    /// After how many seconds an access counts half
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_ACTIVITY_HALF_LIFE_SECS",
        default_value = "86400",
        value_parser = seconds()
    )]
    pub activity_half_life_secs: u64,
}

impl CacheSettings {
    /// As the store takes them.
    pub fn config(&self) -> CacheConfig {
        CacheConfig {
            limit_bytes: self.sync_limit_bytes,
            sync_ttl: Duration::from_secs(self.sync_ttl_secs),
            entry_ttl: Duration::from_secs(self.entry_ttl_secs),
            most_active_limit: self.most_active_limit,
            activity_half_life: Duration::from_secs(self.activity_half_life_secs),
        }
    }
}

/// How jobs are run.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct JobSettings {
    /// How many jobs of a queue this process runs at once (1 to 256)
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_CONCURRENCY",
        default_value = "8",
        value_parser = at_most::<256>
    )]
    pub concurrency: usize,

    /// When hot entries are refreshed, as a cron expression with seconds such as `0 */30 * * * *`; never when not set
    #[arg(long, value_name = "CRON", env = "SLUICE_PREFETCH_SCHEDULE")]
    pub prefetch_schedule: Option<String>,
}

/// A whole number from 1 to `MAX`.
fn at_most<const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=MAX).contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number from 1 to {MAX}")),
    }
}

/// From one second to a year: Valkey takes times to live in milliseconds, and zero would mean "at once".
fn seconds() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=31_536_000)
}

fn secret(text: &str) -> Result<Secret, String> {
    match text.trim() {
        "" => Err("must not be empty".to_owned()),
        text => Ok(Secret::from(text.to_owned())),
    }
}

fn dev_secret(text: &str) -> Result<Secret, String> {
    let secret = secret(text)?;
    if secret.expose().len() < SHORTEST_SECRET {
        return Err(format!("must have at least {SHORTEST_SECRET} bytes"));
    }
    Ok(secret)
}

fn http_url(text: &str) -> Result<Url, String> {
    url_of(text, &["http", "https"])
}

fn valkey_url(text: &str) -> Result<ValkeyUrl, String> {
    url_of(text, &["redis", "rediss"]).map(|_| ValkeyUrl(text.to_owned()))
}

/// An address with one of `schemes`. The text stays out of the errors: it may hold a password.
fn url_of(text: &str, schemes: &[&str]) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if schemes.contains(&url.scheme()) && url.has_host() {
        Ok(url)
    } else {
        Err(format!("must start with {}://", schemes.join(":// or ")))
    }
}

fn not_set(key: &str, variable: &str) -> Failure {
    Failure::new(format!("{key} is not set"))
        .hint(format!("set {variable}, or `{key}` in sluice.toml"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn addresses() -> Addresses {
        Addresses {
            api: "http://127.0.0.1:1".to_owned(),
            convex: "http://127.0.0.1:2".to_owned(),
            convex_key: "key-of-dev".to_owned(),
            valkey: "redis://:password-of-dev@127.0.0.1:3".to_owned(),
        }
    }

    fn convex(url: Option<&str>, key: Option<&str>) -> ConvexSettings {
        ConvexSettings {
            convex_url: url.map(|url| Url::parse(url).unwrap()),
            key: ConvexKeySettings {
                convex_key: key.map(Secret::from),
            },
        }
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let settings = convex(None, None).or(Some(&addresses()));
        let valkey = ValkeySettings { valkey_url: None }.or(Some(&addresses()));
        let text = format!(
            "{settings:?} {valkey:?} {:?}",
            dev_secret(&"s3cret".repeat(8))
        );
        for secret in ["key-of-dev", "password-of-dev", "s3cret"] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    #[test]
    fn the_key_of_a_running_dev_is_not_used_for_another_address() {
        let settings = convex(Some("https://elsewhere.example"), None).or(Some(&addresses()));
        assert!(settings.client().is_err());
    }

    #[test]
    fn settings_win_over_a_running_dev() {
        let settings = ValkeySettings {
            valkey_url: Some(valkey_url("redis://a").unwrap()),
        };
        assert_eq!(settings.or(Some(&addresses())).url().unwrap(), "redis://a");
    }

    #[test]
    fn a_short_development_secret_is_refused() {
        assert!(dev_secret(&"x".repeat(31)).is_err());
        assert!(dev_secret(&"x".repeat(32)).is_ok());
    }
}
