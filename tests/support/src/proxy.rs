//! A TCP proxy on 127.0.0.1 that can hold back or cut what flows through it, to catch a transfer half-way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that are never reached: nothing is held back.
const OPEN: u64 = u64::MAX;

/// Forwards connections to one address. Ends with the runtime that it was started on.
pub struct Proxy {
    port: u16,
    /// The count of answered bytes at which the flow stops.
    limit: watch::Sender<u64>,
    /// Raised to drop all connections.
    cuts: watch::Sender<u64>,
    answered: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a free port and forwards to `target`, a `host:port`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let (limit, _) = watch::channel(OPEN);
        let (cuts, _) = watch::channel(0);
        let answered = Arc::new(AtomicU64::new(0));
        let proxy = Self {
            port,
            limit: limit.clone(),
            cuts: cuts.clone(),
            answered: answered.clone(),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, answered) = (target.clone(), answered.clone());
                let (limit, mut cuts) = (limit.subscribe(), cuts.subscribe());
                tokio::spawn(async move {
                    cuts.mark_unchanged();
                    tokio::select! {
                        () = forward(client, target, limit, answered) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        proxy
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lets `bytes` more of the answers pass, then holds the rest back until [`Proxy::open`].
    pub fn hold_after(&self, bytes: u64) {
        let limit = self.answered.load(Ordering::SeqCst) + bytes;
        self.limit.send_replace(limit);
    }

    /// Waits until the flow stands still because of [`Proxy::hold_after`].
    pub async fn held(&self) {
        while self.answered.load(Ordering::SeqCst) < *self.limit.borrow() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Lets everything pass again.
    pub fn open(&self) {
        self.limit.send_replace(OPEN);
    }

    /// Drops every connection that is open now.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn forward(
    client: TcpStream,
    target: String,
    mut limit: watch::Receiver<u64>,
    answered: Arc<AtomicU64>,
) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let answering = async move {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            let total = answered.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
            if limit.wait_for(|&limit| total < limit).await.is_err()
                || to_client.write_all(&buffer[..read]).await.is_err()
            {
                return;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(asking, answering);
}
