//! Ending a process in an orderly way.

use std::future::Future;
use std::process;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::{Context, Failure};

/// How long running jobs and requests may take to come to an end after the signal.
///
/// Everything has to be over within 10 s, and what they rest on is stopped after them.
pub const DRAIN: Duration = Duration::from_secs(7);

/// How much of [`DRAIN`] jobs may run on for; the rest is for handing back those that did not end.
pub const JOB_GRACE: Duration = Duration::from_secs(4);

/// How long clients of WebSockets are waited for once all else has come to an end.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a shell reports for a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// The one decision to end, shared by every part of the process.
///
/// The first SIGINT or SIGTERM cancels the token that every part watches; the second ends the
/// process on the spot.
#[derive(Clone)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Starts to listen for the signals.
    pub fn on_signals() -> Result<Self, Failure> {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let token = CancellationToken::new();
        let first = token.clone();
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            eprintln!("stopping; a second Ctrl-C ends at once");
            first.cancel();
            either(&mut interrupt, &mut terminate).await;
            process::exit(INTERRUPTED);
        });
        Ok(Self(token))
    }

    /// A token that is cancelled when the process is to end.
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }

    /// Asks every part to end, as a signal does.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Returns once the process is to end.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// The outcome of `work`, or `None` when the process is to end before it is there.
    pub async fn unless_requested<F: Future>(&self, work: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.requested() => None,
            output = work => Some(output),
        }
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Waits for a part that has been asked to end; one that takes longer than `limit` is cut off.
pub async fn finish<T>(mut part: JoinHandle<T>, limit: Duration) -> Option<T> {
    match tokio::time::timeout(limit, &mut part).await {
        Ok(outcome) => outcome.ok(),
        Err(_) => {
            part.abort();
            None
        }
    }
}

/// Lets open WebSockets tell their clients that the server ends, which a server that stops does not
/// wait for.
pub async fn say_farewell(sockets: &TaskTracker) {
    sockets.close();
    let _ = tokio::time::timeout(FAREWELL, sockets.wait()).await;
}
