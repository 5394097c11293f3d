//! Where Valkey and Convex are.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sluice_convex::{Client, ClientConfig, FilesVia, Secret};
use sluice_valkey::{Address, TlsFiles};
use url::Url;

use super::help::HEADING;
use super::values::{ValkeyUrl, between, http_url, secret, valkey_url};
use crate::data_folder::Addresses;
use crate::failure::{Context, Failure};

/// Where `sluice convex` and Convex's own local backend listen.
const LOCAL_CONVEX: &str = "http://127.0.0.1:3210";

/// Where Valkey is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct ValkeySettings {
    /// Valkey's address, such as redis://:password@127.0.0.1:6379; nodes of a cluster with commas
    /// between, or redis+sentinel://host:26379,…/name
    #[arg(
        long,
        value_name = "URL",
        env = "SLUICE_VALKEY_URL",
        hide_env_values = true,
        hide_default_value = true,
        value_parser = valkey_url
    )]
    pub valkey_url: Option<ValkeyUrl>,

    /// The file with the certificates (PEM) of the CAs that may have issued Valkey's, for rediss://
    /// [default: the system's]
    #[arg(long, value_name = "FILE", env = "SLUICE_VALKEY_CA")]
    pub valkey_ca: Option<PathBuf>,

    /// The file with the certificate (PEM) that is shown to Valkey, if it asks for one
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICE_VALKEY_CERT",
        requires = "valkey_key"
    )]
    pub valkey_cert: Option<PathBuf>,

    /// The file with the private key (PEM) of that certificate
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICE_VALKEY_KEY",
        requires = "valkey_cert"
    )]
    pub valkey_key: Option<PathBuf>,
}

impl ValkeySettings {
    /// Of a server whose address is known, without TLS.
    pub fn at(url: &str) -> Self {
        Self {
            valkey_url: Some(ValkeyUrl(url.to_owned())),
            valkey_ca: None,
            valkey_cert: None,
            valkey_key: None,
        }
    }

    /// What is not set is taken from a running `sluice dev`.
    pub fn or(self, running: Option<&Addresses>) -> Self {
        Self {
            valkey_url: self
                .valkey_url
                .or_else(|| running.map(|addresses| ValkeyUrl(addresses.valkey.clone()))),
            ..self
        }
    }

    /// The address, password included, and what secures the way there.
    pub fn address(&self) -> Result<Address, Failure> {
        let Some(url) = &self.valkey_url else {
            return Err(not_set("valkey_url", "SLUICE_VALKEY_URL"));
        };
        let files = TlsFiles {
            ca: self.valkey_ca.clone(),
            client: self.valkey_cert.clone().zip(self.valkey_key.clone()),
        };
        Address::with_tls(&url.0, &files).context("cannot use valkey_url")
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
        value_parser = between::<1, 1000, usize>
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
    /// Through the deployed functions, through the streaming export, or whichever the deployment
    /// has
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
    /// The functions of crates/convex/functions, by index.
    Functions,
    /// The streaming export: works everywhere, reads the whole table.
    Export,
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

    fn valkey(url: Option<&str>) -> ValkeySettings {
        ValkeySettings {
            valkey_url: url.map(|url| valkey_url(url).unwrap()),
            valkey_ca: None,
            valkey_cert: None,
            valkey_key: None,
        }
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let settings = convex(None, None).or(Some(&addresses()));
        let valkey = valkey(None).or(Some(&addresses()));
        let text = format!("{settings:?} {valkey:?} {:?}", secret("s3cret"));
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
        let settings = valkey(Some("redis://a")).or(Some(&addresses()));
        let address = settings.address().unwrap();
        assert_eq!(address.to_string(), "a:6379");
    }
}
