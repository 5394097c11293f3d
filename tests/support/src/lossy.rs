//! A way to Valkey on which answers get lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// When told to, passes the call of a function on to Valkey and breaks the connection instead of passing its
/// answer back. Ends with the runtime that it was started on.
pub struct LossyWay {
    port: u16,
    to_lose: Arc<AtomicUsize>,
}

impl LossyWay {
    /// Listens on a free port and leads to the server that listens on `server` of 127.0.0.1.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let to_lose = Arc::new(AtomicUsize::new(0));
        let lose = to_lose.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, lose.clone()));
            }
        });
        Self { port, to_lose }
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The answers to the next `count` calls of functions get lost.
    pub fn lose(&self, count: usize) {
        self.to_lose.store(count, Ordering::SeqCst);
    }

    /// # Panics
    /// When not all answers that were to get lost have.
    pub fn assert_lost(&self) {
        assert_eq!(self.to_lose.load(Ordering::SeqCst), 0, "nothing was lost");
    }
}

async fn carry(mut client: TcpStream, server: u16, to_lose: Arc<AtomicUsize>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let (mut sent, mut answered) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut in_call = false;
    loop {
        tokio::select! {
            read = client.read(&mut sent) => {
                let Ok(count @ 1..) = read else { return };
                in_call |= sent[..count].windows(5).any(|word| word == b"FCALL");
                if server.write_all(&sent[..count]).await.is_err() { return }
            }
            read = server.read(&mut answered) => {
                let Ok(count @ 1..) = read else { return };
                let lose = |left: usize| left.checked_sub(1);
                if in_call && to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok() {
                    return;
                }
                in_call = false;
                if client.write_all(&answered[..count]).await.is_err() { return }
            }
        }
    }
}
