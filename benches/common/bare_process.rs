//! The process of the baselines, which is this program again.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo};
use sluice_test_support::TestValkey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;

use crate::harness;

const PORT: &str = "SLUICE_BENCH_BARE_PORT";
const VALKEY: &str = "SLUICE_BENCH_BARE_VALKEY";
const LIBRARY: &str = "SLUICE_BENCH_BARE_LIBRARY";

/// The running process.
pub struct Bare {
    process: Child,
    pub address: String,
}

impl Bare {
    /// `library` is a pattern of the name of the library whose functions it calls. Further settings
    /// are for its environment.
    pub async fn start(valkey: &TestValkey, library: &str, settings: &[(&str, &str)]) -> Self {
        let mut list = redis::cmd("FUNCTION");
        list.arg("LIST").arg("LIBRARYNAME").arg(library);
        let libraries: Vec<Vec<redis::Value>> = list.query(&mut valkey.connection()).unwrap();
        let library: String = redis::from_redis_value(libraries[0][1].clone()).unwrap();
        let valkey = format!("redis://{}127.0.0.1:{}", harness::USER, valkey.port());
        let port = sluice_test_support::free_port().to_string();
        let process = Command::new(std::env::current_exe().unwrap())
            .env(PORT, &port)
            .env(VALKEY, valkey)
            .env(LIBRARY, library)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let address = format!("127.0.0.1:{port}");
        while TcpStream::connect(&address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { process, address }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether this is that process.
pub fn is_asked_for() -> bool {
    std::env::var_os(PORT).is_some()
}

/// A connection to its Valkey that all requests share, and the library of functions. What Valkey
/// pushes goes to `pushes`.
pub async fn valkey(
    pushes: Option<UnboundedSender<PushInfo>>,
) -> (MultiplexedConnection, Arc<str>) {
    let patience = Some(Duration::from_secs(10));
    let mut config = AsyncConnectionConfig::new().set_response_timeout(patience);
    let mut address = std::env::var(VALKEY).unwrap();
    if let Some(pushes) = pushes {
        config = config.set_push_sender(pushes);
        address.push_str("?protocol=resp3");
    }
    let client = redis::Client::open(address).unwrap();
    let valkey = client.get_multiplexed_async_connection_with_config(&config);
    (
        valkey.await.unwrap(),
        std::env::var(LIBRARY).unwrap().into(),
    )
}

pub async fn serve(router: Router) {
    let port = std::env::var(PORT).unwrap();
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await;
    axum::serve(listener.unwrap(), router).await.unwrap();
}
