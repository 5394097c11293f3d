//! Real parts for tests: a private Valkey on a free port, a cluster of them, one with a replica and a sentinel, a proxy that holds a
//! transfer back half-way, a server that speaks S3's protocol, a way on which answers get lost, one that is encrypted; what answers are
//! held against; and a look for jobs that a test leaves.

mod cluster;
mod contract;
#[cfg(feature = "jobs")]
mod jobs;
mod lossy;
mod proxy;
mod s3;
mod sentinel;
mod tls;
mod valkey;

pub use cluster::TestCluster;
pub use contract::Contract;
#[cfg(feature = "jobs")]
pub use jobs::assert_jobs_ended;
pub use lossy::LossyWay;
pub use proxy::Proxy;
pub use s3::TestS3;
pub use sentinel::TestSentinel;
pub use tls::TlsFront;
pub use valkey::TestValkey;

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The root folder of the project.
pub fn project_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Ports below those that systems give to outgoing connections, any of which could take a free one
/// away.
const PORTS: std::ops::Range<u32> = 10_000..32_000;

/// A port of 127.0.0.1 that nothing listens on at this moment, and that this process has not given
/// out of late.
///
/// # Panics
/// When the system has no free port.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Test processes side by side begin at different places.
    static FIRST: LazyLock<u32> = LazyLock::new(|| RandomState::new().hash_one(0) as u32 / 2);
    PORTS
        .map(|_| {
            let offset = FIRST.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
            (PORTS.start + offset % (PORTS.end - PORTS.start)) as u16
        })
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
