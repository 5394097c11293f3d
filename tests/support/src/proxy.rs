//! A TCP proxy on 127.0.0.1 that can hold back what flows through it, to catch a transfer half-way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A count of bytes that is never reached: nothing is held back.
const OPEN: u64 = u64::MAX;

/// Forwards connections to one address. Ends with the runtime that it was started on.
pub struct Proxy {
    port: u16,
    /// The count of answered bytes at which a connection is held back.
    limit: watch::Sender<u64>,
    /// How often all connections were cut.
    cuts: watch::Sender<u64>,
    flow: Arc<Flow>,
}

/// What all connections have answered together.
#[derive(Default)]
struct Flow {
    answered: AtomicU64,
    /// Whether a connection is held back; the others go on.
    held: AtomicBool,
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
        let flow = Arc::new(Flow::default());
        let proxy = Self {
            port,
            limit: limit.clone(),
            cuts: cuts.clone(),
            flow: flow.clone(),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let forwarded = forward(client, target.clone(), limit.subscribe(), flow.clone());
                let mut cuts = cuts.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        () = forwarded => {}
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

    /// Lets `bytes` more of the answers pass, then holds the connection that is answering back
    /// until [`Proxy::open`].
    pub fn hold_after(&self, bytes: u64) {
        let limit = self.flow.answered.load(Ordering::SeqCst) + bytes;
        self.limit.send_replace(limit);
    }

    /// Waits until a connection is held back.
    pub async fn held(&self) {
        while !self.flow.held.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Cuts all connections that there are.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets everything pass again.
    pub fn open(&self) {
        self.limit.send_replace(OPEN);
    }
}

async fn forward(
    client: TcpStream,
    target: String,
    mut limit: watch::Receiver<u64>,
    flow: Arc<Flow>,
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
            let total = flow.answered.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
            let is_over = total >= *limit.borrow();
            if is_over && !flow.held.swap(true, Ordering::SeqCst) {
                let opened = limit.wait_for(|&limit| limit == OPEN).await.is_ok();
                flow.held.store(false, Ordering::SeqCst);
                if !opened {
                    return;
                }
            }
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(asking, answering);
}
