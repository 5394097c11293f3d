//! Where Valkey is, and how a connection to it is secured.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redis::{Client, ClientTlsConfig, TlsCertificates};

/// A server, some nodes of a cluster, whose other ones are found by asking them, or the sentinels
/// that know which server is the primary. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Address(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    named: Vec<Client>,
    /// When the named ones are sentinels.
    watched: Option<Watched>,
}

/// The primary that sentinels watch.
#[derive(Debug)]
pub(crate) struct Watched {
    /// What the sentinels call it.
    pub name: String,
    /// Its user, database and certificates; its host and port are what sentinels say.
    pub client: Client,
}

const SENTINEL_PORT: &str = "26379";

/// The PEM files of a TLS connection. Without a CA those of the system are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the CAs that the server's certificate may be of.
    pub ca: Option<PathBuf>,
    /// The certificate that this client shows, and its private key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Why an address cannot be used. No message repeats the URL, for it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Not a URL of a known form.
    #[error(
        "the Valkey URL is malformed; it must be like redis://[user:password@]host:port[/database], \
         rediss://… for TLS, unix:///path/to/socket, or redis+sentinel://host:port,host:port/name"
    )]
    Malformed,
    /// TLS files with a URL that does not ask for TLS.
    #[error("certificates are set, but the Valkey URL does not begin with rediss:// or valkeys://")]
    NoTls,
    /// A PEM file cannot be read.
    #[error("cannot read {path}: {error}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A PEM file does not hold what it should.
    #[error("the certificates for Valkey cannot be used: {0}")]
    Certificates(redis::RedisError),
}

impl Address {
    /// Reads a URL:
    ///
    /// | form | what it is |
    /// |---|---|
    /// | `redis://[user:password@]host:port[/database]` | a server; `valkey://` is the same |
    /// | `redis://[user:password@]host:port,host:port…` | some nodes of a cluster |
    /// | `rediss://…`, `valkeys://…` | either of them over TLS |
    /// | `unix:///path[?db=0&user=…&pass=…]` | a server's socket on the same machine |
    /// | `redis+sentinel://[user:password@]host:port,…/name[/database]` | sentinels, and what they call the primary; `rediss+sentinel://` over TLS, `?sentinel_user=…&sentinel_pass=…` for their own user |
    ///
    /// Special characters in a user name or password are percent-encoded.
    ///
    /// # Errors
    /// [`AddressError::Malformed`].
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        Self::with_tls(url, &TlsFiles::default())
    }

    /// As [`Address::parse`], with certificates of one's own.
    ///
    /// # Errors
    /// As [`Address::parse`], and when the files do not fit.
    pub fn with_tls(url: &str, files: &TlsFiles) -> Result<Self, AddressError> {
        use_crypto();
        let certificates = files.read()?;
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let sentinel_of = scheme.strip_suffix("+sentinel");
        let scheme = sentinel_of.unwrap_or(scheme);
        let is_tls = matches!(scheme, "rediss" | "valkeys");
        if certificates.is_some() && !is_tls {
            return Err(AddressError::NoTls);
        }
        let client = |url: &str| {
            let client = Client::open(url).map_err(|_| AddressError::Malformed)?;
            let Some(certificates) = &certificates else {
                return Ok(client);
            };
            let info = client.get_connection_info().clone();
            Client::build_with_tls(info, certificates.clone()).map_err(AddressError::Certificates)
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let inner = if sentinel_of.is_some() {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let mut parts = path.trim_start_matches('/').splitn(2, '/');
            let name = parts.next().unwrap_or_default();
            if name.is_empty() {
                return Err(AddressError::Malformed);
            }
            let database = parts.next().unwrap_or("0");
            let own_user = sentinel_user(query)?;
            let hosts = hosts.split(',').map(|host| match has_port(host) {
                true => client(&format!("{scheme}://{own_user}{host}")),
                false => client(&format!("{scheme}://{own_user}{host}:{SENTINEL_PORT}")),
            });
            Inner {
                named: hosts.collect::<Result<_, _>>()?,
                watched: Some(Watched {
                    name: name.to_owned(),
                    client: client(&format!("{scheme}://{user}primary/{database}"))?,
                }),
            }
        } else if hosts.contains(',') {
            let nodes = hosts.split(',');
            let named = nodes.map(|host| client(&format!("{scheme}://{user}{host}{path}")));
            Inner {
                named: named.collect::<Result<_, _>>()?,
                watched: None,
            }
        } else {
            Inner {
                named: vec![client(url)?],
                watched: None,
            }
        };
        Ok(Self(Arc::new(inner)))
    }

    /// One of the nodes that were named; another one on the next turn.
    pub(crate) fn node(&self, turn: usize) -> &Client {
        &self.0.named[turn % self.0.named.len()]
    }

    /// How many nodes were named, at least 1.
    pub(crate) fn named(&self) -> usize {
        self.0.named.len()
    }

    /// The primary, when the named ones are sentinels.
    pub(crate) fn watched(&self) -> Option<&Watched> {
        self.0.watched.as_ref()
    }
}

impl fmt::Display for Address {
    /// The named hosts and ports, without users and passwords.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, client) in self.0.named.iter().enumerate() {
            let separator = if place > 0 { "," } else { "" };
            write!(
                formatter,
                "{separator}{}",
                client.get_connection_info().addr()
            )?;
        }
        Ok(())
    }
}

fn has_port(host: &str) -> bool {
    let end = host.rsplit_once(':').map(|(_, port)| port);
    end.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `user:password@` of the sentinels themselves, from the query of a URL.
fn sentinel_user(query: &str) -> Result<String, AddressError> {
    let (mut user, mut password) = ("", None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sentinel_user", value)) => user = value,
            Some(("sentinel_pass", value)) => password = Some(value),
            _ => return Err(AddressError::Malformed),
        }
    }
    Ok(password.map_or_else(String::new, |password| format!("{user}:{password}@")))
}

impl TlsFiles {
    fn read(&self) -> Result<Option<TlsCertificates>, AddressError> {
        if *self == Self::default() {
            return Ok(None);
        }
        let client_tls = match &self.client {
            Some((certificate, key)) => Some(ClientTlsConfig {
                client_cert: read(certificate)?,
                client_key: read(key)?,
            }),
            None => None,
        };
        let root_cert = self.ca.as_deref().map(read).transpose()?;
        Ok(Some(TlsCertificates {
            client_tls,
            root_cert,
        }))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AddressError> {
    std::fs::read(path).map_err(|error| AddressError::Unreadable {
        path: path.to_owned(),
        error,
    })
}

/// Names the cryptography of the process, unless something else has. The first connection over TLS
/// needs it.
fn use_crypto() {
    // An error says that there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn addresses(url: &str) -> Vec<String> {
        let address = Address::parse(url).unwrap().to_string();
        address.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn a_url_names_one_server_or_several_nodes() {
        assert_eq!(addresses("redis://localhost:7000/2"), ["localhost:7000"]);
        assert_eq!(
            addresses("rediss://ann:p,w@10.0.0.1:7000,10.0.0.2:7001"),
            ["10.0.0.1:7000", "10.0.0.2:7001"]
        );
        assert_eq!(addresses("unix:///run/valkey.sock"), ["/run/valkey.sock"]);
    }

    #[test]
    fn a_url_of_sentinels_names_the_primary() {
        let address =
            Address::parse("redis+sentinel://ann:pw@s1,s2:7/main/3?sentinel_pass=x").unwrap();
        let sentinels = (0..2).map(|turn| address.node(turn).get_connection_info());
        let sentinels: Vec<_> = sentinels
            .map(|info| (info.addr().to_string(), info.redis_settings().password()))
            .collect();
        let expected = [
            ("s1:26379".to_owned(), Some("x")),
            ("s2:7".to_owned(), Some("x")),
        ];
        assert_eq!(sentinels, expected);
        let watched = address.watched().unwrap();
        assert_eq!(watched.name, "main");
        let settings = watched.client.get_connection_info().redis_settings();
        assert_eq!((settings.username(), settings.db()), (Some("ann"), 3));
        for malformed in ["redis+sentinel://s1", "redis+sentinel://s1/main?other=1"] {
            assert!(Address::parse(malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn an_encoded_password_is_decoded() {
        let address = Address::parse("valkeys://ann:p%40%2F%23w@localhost").unwrap();
        let settings = address.node(0).get_connection_info().redis_settings();
        assert_eq!(settings.password(), Some("p@/#w"));
    }

    #[test]
    fn a_malformed_url_is_not_repeated() {
        for url in [
            "redis//:secret@host",
            "http://:secret@host",
            "secret:7000,secret:7001",
        ] {
            let message = Address::parse(url).unwrap_err().to_string();
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn certificates_need_an_address_that_asks_for_tls() {
        let files = TlsFiles {
            ca: Some("Cargo.toml".into()),
            client: None,
        };
        assert!(matches!(
            Address::with_tls("redis://localhost", &files),
            Err(AddressError::NoTls)
        ));
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let files = TlsFiles {
            ca: Some("no/such.pem".into()),
            client: None,
        };
        let error = Address::with_tls("rediss://localhost", &files).unwrap_err();
        assert!(error.to_string().contains("no/such.pem"), "{error}");
    }
}
