//! Real parts for tests: a private Valkey on a free port, a cluster of them, a proxy that holds a transfer back half-way,
//! a way on which answers get lost, one that is encrypted; and what answers are held against.

mod cluster;
mod contract;
mod lossy;
mod proxy;
mod tls;
mod valkey;

pub use cluster::TestCluster;
pub use contract::Contract;
pub use lossy::LossyWay;
pub use proxy::Proxy;
pub use tls::TlsFront;
pub use valkey::TestValkey;

use std::path::PathBuf;

/// The root folder of the project.
pub fn project_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A port of 127.0.0.1 that nothing listens on at this moment.
///
/// # Panics
/// When the system has no free port.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
