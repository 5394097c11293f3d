//! The encrypted way to a server.

use sluice_test_support::{TestValkey, TlsFront};
use sluice_valkey::{Address, Fault, TlsFiles, Valkey, ValkeyConfig};

async fn ping(url: &str, files: &TlsFiles) -> redis::RedisResult<()> {
    let address = Address::with_tls(url, files).unwrap();
    Valkey::open(address, ValkeyConfig::default()).ping().await
}

#[tokio::test]
async fn a_server_with_a_ca_of_its_own_is_reached_with_a_certificate_of_that_ca() {
    let valkey = TestValkey::start();
    let front = TlsFront::to(valkey.port()).await;
    let files = TlsFiles {
        ca: Some(front.ca()),
        client: Some(front.client()),
    };
    for url in [front.url(), front.url().replace("rediss", "valkeys")] {
        ping(&url, &files).await.unwrap();
    }
}

#[tokio::test]
async fn without_the_ca_or_the_certificate_nothing_gets_through() {
    let valkey = TestValkey::start();
    let front = TlsFront::to(valkey.port()).await;
    let (ca, client) = (Some(front.ca()), Some(front.client()));
    for files in [
        TlsFiles::default(),
        TlsFiles { ca, client: None },
        TlsFiles { ca: None, client },
    ] {
        let error = ping(&front.url(), &files).await.unwrap_err();
        assert_eq!(Fault::of(&error), Fault::Outage, "{error}");
    }
}

#[tokio::test]
async fn a_socket_of_the_same_machine_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("valkey.sock");
    let socket = socket.to_str().unwrap();
    let _valkey = TestValkey::start_with(&["--unixsocket", socket]);
    let url = format!("unix://{socket}");
    ping(&url, &TlsFiles::default()).await.unwrap();
}
