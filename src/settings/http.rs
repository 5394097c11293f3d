//! What the servers of a process put up with.

use std::time::Duration;

use clap::Args;

use super::help::HEADING;
use super::values::between;
use crate::http::Limits;

/// Limits of connections, for each server: the API, a worker's metrics, the Convex-compatible
/// store.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct HttpSettings {
    /// How many connections a server has at a time (1 to 1000000); who comes then is answered 503
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_HTTP_CONNECTIONS",
        default_value = "10000",
        value_parser = between::<1, 1_000_000, usize>
    )]
    http_connections: usize,

    /// How many of them come from one address, of IPv6 from one /64 (0 to 1000000; 0: any number)
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_HTTP_CONNECTIONS_PER_ADDRESS",
        default_value = "0",
        value_parser = clap::value_parser!(u32).range(0..=1_000_000)
    )]
    http_connections_per_address: u32,

    /// How long the head of a request may take, in seconds (1 to 300)
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_HTTP_HEAD_SECS",
        default_value = "10",
        value_parser = clap::value_parser!(u64).range(1..=300)
    )]
    http_head_secs: u64,

    /// How long a connection may be idle between requests, or stuck within one, in seconds (1 to
    /// 3600)
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_HTTP_IDLE_SECS",
        default_value = "75",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    http_idle_secs: u64,
}

impl HttpSettings {
    /// As a server takes them.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.http_connections,
            connections_per_address: usize::try_from(self.http_connections_per_address)
                .ok()
                .filter(|&limit| limit > 0),
            head: Duration::from_secs(self.http_head_secs),
            idle: Duration::from_secs(self.http_idle_secs),
        }
    }
}
