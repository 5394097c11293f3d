//! TLS in front of a server that speaks plain text.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Listens with TLS on a free port, takes only clients that show a certificate of its CA, and
/// forwards what they say. Ends with the runtime that it was started on.
pub struct TlsFront {
    port: u16,
    files: TempDir,
}

impl TlsFront {
    /// Forwards to that port of 127.0.0.1.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn to(port: u16) -> Self {
        let files = tempfile::tempdir().expect("a temporary folder");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, key()).expect("a CA");
        let issue = |name: &str| {
            let params = CertificateParams::new([name.to_owned()]).expect("a name");
            let key = key();
            let certificate = params.signed_by(&key, &ca).expect("a certificate");
            (certificate, key)
        };
        let (server, server_key) = issue("localhost");
        let (client, client_key) = issue("client");
        for (name, pem) in [
            ("ca.pem", ca.pem()),
            ("client.pem", client.pem()),
            ("client.key", client_key.serialize_pem()),
        ] {
            std::fs::write(files.path().join(name), pem).expect("a file");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).expect("a root");
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .expect("a verifier");
        let chain: Vec<CertificateDer> = vec![server.der().clone()];
        let server_key = PrivateKeyDer::try_from(server_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, server_key)
            .expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("a bound address").port();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(acceptor.clone(), client, port));
            }
        });
        Self { port: own, files }
    }

    /// `rediss://localhost:<port>`.
    pub fn url(&self) -> String {
        format!("rediss://localhost:{}", self.port)
    }

    /// The CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.files.path().join("ca.pem")
    }

    /// A client's certificate and its private key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        let file = |name| self.files.path().join(name);
        (file("client.pem"), file("client.key"))
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

async fn forward(acceptor: TlsAcceptor, client: TcpStream, port: u16) {
    let Ok(mut client) = acceptor.accept(client).await else {
        return;
    };
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
