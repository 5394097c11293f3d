use std::time::Duration;

use url::Url;

use super::Secret;

/// Where a deployment is and how patient to be with it.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The deployment's address, e.g. `https://name-123.convex.cloud`.
    pub url: Url,
    /// Sent as `Authorization: Convex <key>`.
    pub deploy_key: Secret,
    /// How long an attempt waits for an answer to begin, and then for each next chunk of it.
    pub request_timeout: Duration,
    /// How often a failed attempt is repeated.
    pub retries: u32,
    /// Sent as `Convex-Client`: a name, a dash and a version.
    pub client_name: String,
}

impl ClientConfig {
    /// The defaults: 30 s, 4 retries, `sluice-<version>`.
    pub fn new(url: Url, deploy_key: Secret) -> ClientConfig {
        ClientConfig {
            url,
            deploy_key,
            request_timeout: Duration::from_secs(30),
            retries: 4,
            client_name: concat!("sluice-", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
