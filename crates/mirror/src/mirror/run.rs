//! A mirror that goes on until it is told to stop.

use std::time::Duration;

use sluice_client::{Client, Nudge};
use sluice_retry::{Pauses, jittered};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{Mirror, Report};
use crate::error::MirrorError;
use crate::watch::Watch;

/// Hints that come within this time of each other are one.
const HINT_PAUSE: Duration = Duration::from_millis(80);
/// So long hints are gathered at most.
const HINT_LIMIT: Duration = Duration::from_millis(800);
/// What went wrong is tried again so often.
const RETRY_PAUSE: Duration = Duration::from_secs(30);
/// A file that changes all the time is looked at again after this time.
const UNREAD_PAUSE: Duration = Duration::from_millis(400);
const HEARTBEAT_PAUSE: Duration = Duration::from_secs(600);
/// The wait after the first attempt that fails, which doubles from one to the next, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(20));

impl Mirror {
    /// Keeps both sides in step, until `stop` comes.
    ///
    /// # Errors
    /// What does not pass by itself: see [`Mirror::sync`].
    pub async fn run(&mut self, stop: impl Future<Output = ()>) -> Result<(), MirrorError> {
        tokio::pin!(stop);
        let (watch, why) = Watch::start(self.folder.root());
        if let Some(why) = why {
            let text = format!("the system gives no hints of changes, only scans find them: {why}");
            (self.observer)(Report::Note(text));
        }
        let (sender, mut nudges) = mpsc::channel(1);
        let share = self.about.share.clone();
        let listener = listen(
            self.client.clone(),
            self.about.device.clone(),
            share,
            sender,
        );
        let listener = tokio::spawn(listener);
        let outcome = tokio::select! {
            outcome = self.rounds(&watch, &mut nudges) => outcome,
            () = &mut stop => Ok(()),
        };
        listener.abort();
        // Whatever was under way, what is done is kept.
        self.save()?;
        outcome
    }

    async fn rounds(
        &mut self,
        watch: &Watch,
        nudges: &mut mpsc::Receiver<()>,
    ) -> Result<(), MirrorError> {
        let mut pauses = Pauses::new(PAUSES.0, PAUSES.1);
        let mut retried = Instant::now();
        let mut beaten = Instant::now();
        loop {
            let wait = match self.sync().await {
                Ok(()) => {
                    pauses.reset();
                    self.next_wait()
                }
                Err(error) if error.is_transient() => {
                    let pause = pauses.next_pause();
                    let text = format!("{error}; trying again in {:.1} s", pause.as_secs_f64());
                    (self.observer)(Report::Note(text));
                    sleep(pause).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            tokio::select! {
                () = watch.hint() => self.gather(watch).await,
                _ = nudges.recv() => {}
                () = sleep(wait) => {}
            }
            if retried.elapsed() > RETRY_PAUSE {
                self.trees.retry_problems();
                retried = Instant::now();
            }
            if beaten.elapsed() > HEARTBEAT_PAUSE {
                // Missing one does no harm.
                let _ = self.client.heartbeat(&self.about.device).await;
                beaten = Instant::now();
            }
        }
    }

    /// Until when nothing has to be done without a hint or a nudge.
    fn next_wait(&self) -> Duration {
        let is_unread = self
            .trees
            .local()
            .iter()
            .any(|(_, local)| local.kind == crate::tree::Kind::File && local.stamp.is_none());
        if is_unread && self.trees.unsettled() > 0 {
            return UNREAD_PAUSE;
        }
        let pause = jittered(self.config.scan_pause);
        match self.trees.problems().next() {
            Some(_) => pause.min(RETRY_PAUSE),
            None => pause,
        }
    }

    /// Waits until hints come no more.
    async fn gather(&self, watch: &Watch) {
        let until = Instant::now() + HINT_LIMIT;
        while Instant::now() < until && timeout(HINT_PAUSE, watch.hint()).await.is_ok() {}
    }
}

/// Passes nudges on for as long as somebody takes them.
async fn listen(client: Client, device: String, share: String, nudges: mpsc::Sender<()>) {
    let mut pauses = Pauses::new(PAUSES.0, PAUSES.1);
    while !nudges.is_closed() {
        if let Ok(mut connected) = client.nudges(&device).await {
            while let Ok(nudge) = connected.next().await {
                pauses.reset();
                let is_ours = match nudge {
                    Nudge::All => true,
                    Nudge::Share(id) => id == share,
                };
                if is_ours {
                    // One that waits is enough.
                    let _ = nudges.try_send(());
                }
            }
        }
        sleep(pauses.next_pause()).await;
    }
}
