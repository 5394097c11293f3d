//! Following Convex: the deltas, and what to do when they do not suffice.

use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sluice_convex::files::history::DeltaBatch;
use sluice_convex::{ConvexError, Files};
use sluice_retry::{Pauses, jittered};
use sluice_store::cache::Cache;
use sluice_store::filesync::Filesync;
use sluice_store::tail::{Health, Lead, Progress, Purpose};
use tokio::time::sleep;

use super::config::TailConfig;
use super::effects::{Reach, Source, bring_about, name_all};
use super::lease::Held;
use super::report;
use super::trouble::Trouble;

/// How often a tail that has nothing to do looks whether the table was emptied, and says that it is
/// well.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// How often it says how it is doing, at least.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// The tail in the hands of one worker.
pub(super) struct Follower<'a> {
    pub(super) lead: &'a Lead,
    pub(super) reach: Reach<'a>,
    pub(super) config: &'a TailConfig,
    pub(super) progress: Progress,
    saved: Option<Instant>,
    /// When the witness was last asked for.
    checked: Option<Instant>,
    /// What Convex's time was at some moment, to tell how far behind the cursor is.
    clock: Option<(i64, Instant)>,
    pub(super) lag_rows: u64,
    /// Convex had forgotten, and no delta has been followed since.
    is_restarted: bool,
}

/// What came of a step.
enum Step {
    /// A walk goes on, or is to begin.
    Walked,
    /// The deltas are known to their end; there may be more to do.
    Followed,
    /// There is nothing more to do for now.
    Idle,
}

impl<'a> Follower<'a> {
    pub fn new(
        held: &'a Held,
        cache: &'a Cache,
        filesync: &'a Filesync,
        files: &'a dyn Files,
        config: &'a TailConfig,
    ) -> Follower<'a> {
        let lead = &held.lead;
        Follower {
            lead,
            reach: Reach {
                lead,
                cache,
                files,
                filesync,
                tenant: config.tenant.as_deref(),
            },
            config,
            progress: held.lead.progress().clone(),
            saved: None,
            checked: None,
            clock: None,
            lag_rows: 0,
            is_restarted: false,
        }
    }

    /// Follows until that fails. `pauses` begin again as soon as deltas have been followed.
    pub async fn run(&mut self, pauses: &mut Pauses) -> Trouble {
        let Err(trouble) = self.follow_on(pauses).await;
        trouble
    }

    async fn follow_on(&mut self, pauses: &mut Pauses) -> Result<Infallible, Trouble> {
        self.lead.fence().await?;
        if !self.progress.named {
            name_all(self.lead).await?;
            self.progress.named = true;
        }
        self.clock = Some((self.config.history.now().await?, Instant::now()));
        loop {
            match self.step().await? {
                Step::Walked => {}
                Step::Followed => pauses.reset(),
                Step::Idle => {
                    pauses.reset();
                    sleep(jittered(self.config.interval)).await;
                }
            }
        }
    }

    /// Does what is next.
    async fn step(&mut self) -> Result<Step, Trouble> {
        let outcome = match (&self.progress.walk, self.progress.cursor) {
            (Some(walk), _) if walk.purpose != Purpose::Compare => {
                self.walk(walk.clone()).await.map(|()| Step::Walked)
            }
            (_, None) => {
                self.begin_walk(Purpose::Begin, "first").await?;
                return Ok(Step::Walked);
            }
            (_, Some(cursor)) => self.take_turn(cursor).await,
        };
        match outcome {
            Err(Trouble::Convex(error)) if needs_new_snapshot(&error) => {
                tracing::warn!(%error, "Convex does not remember as far back as the tail had come");
                let purpose = match &self.progress.walk {
                    Some(walk) => walk.purpose,
                    None => Purpose::Restart,
                };
                self.begin_walk(purpose, "expired").await?;
                // A second time, with no delta in between, it is a failure like others, with a
                // pause after it.
                if std::mem::replace(&mut self.is_restarted, true) {
                    return Err(error.into());
                }
                Ok(Step::Walked)
            }
            outcome => {
                self.is_restarted &= !matches!(outcome, Ok(Step::Followed | Step::Idle));
                outcome
            }
        }
    }

    /// Follows the deltas to their end, then goes on with a comparison, if there is one.
    async fn take_turn(&mut self, cursor: i64) -> Result<Step, Trouble> {
        match self.follow_deltas(cursor).await {
            // Also while documents are compared it is the deltas that are missing.
            Err(Trouble::Convex(error)) if needs_new_snapshot(&error) => {
                self.progress.walk = None;
                return Err(error.into());
            }
            outcome => outcome?,
        }
        if let Some(walk) = self.progress.walk.clone() {
            self.walk(walk).await?;
            return Ok(Step::Followed);
        }
        if self.is_comparison_due() {
            self.begin_walk(Purpose::Compare, "scheduled").await?;
            return Ok(Step::Followed);
        }
        Ok(Step::Idle)
    }

    fn is_comparison_due(&self) -> bool {
        let (Some(every), Some(cursor)) = (self.config.compare_every, self.progress.cursor) else {
            return false;
        };
        let since = cursor.saturating_sub(self.progress.compared.unwrap_or(cursor));
        i128::from(since) > every.as_nanos() as i128
    }

    /// Follows the deltas until none is known to follow.
    async fn follow_deltas(&mut self, cursor: i64) -> Result<(), Trouble> {
        let mut pages = self.config.history.deltas(cursor);
        let mut batch = pages.next().await?;
        let (mut first, mut last) = (None, None);
        loop {
            let DeltaBatch { changes, end } = batch;
            first = first.or(changes.first().map(|change| change.ts));
            last = changes.last().map(|change| change.ts).or(last);
            self.lag_rows += changes.len() as u64;
            let bring_about = bring_about(
                self.reach,
                changes,
                Source::Deltas,
                self.progress.generation,
            );
            match end {
                Some(end) if !end.has_more => {
                    bring_about.await?;
                    self.progress.cursor = Some(end.cursor);
                    report::page("deltas");
                    break;
                }
                end => {
                    let (done, next) = tokio::join!(bring_about, pages.next());
                    done?;
                    if let Some(end) = end {
                        self.progress.cursor = Some(end.cursor);
                        report::page("deltas");
                        self.save().await?;
                    }
                    batch = next?;
                }
            }
        }
        self.clock = self.progress.cursor.map(|now| (now, Instant::now()));
        let is_quiet = std::mem::take(&mut self.lag_rows) == 0;
        let is_due = |last: Option<Instant>, every| last.is_none_or(|last| last.elapsed() >= every);
        if !is_quiet || is_due(self.checked, CHECK_EVERY) {
            self.check_witness(first, last).await?;
            self.checked = Some(Instant::now());
        }
        if !is_quiet || is_due(self.saved, SAVE_EVERY) {
            self.save().await?;
        }
        Ok(())
    }

    /// Looks whether the log still tells of a change that it told of before those since `first`. If
    /// so, no table was emptied or replaced up to now, and the `last` change becomes the next
    /// witness.
    async fn check_witness(
        &mut self,
        first: Option<i64>,
        last: Option<i64>,
    ) -> Result<(), Trouble> {
        let Some(witness) = self.progress.witness.or(first) else {
            return Ok(());
        };
        match self.config.history.remembers(witness).await {
            Ok(true) => self.progress.witness = last.or(Some(witness)),
            Ok(false) => {
                tracing::warn!("documents went from Convex without a tombstone");
                self.progress.witness = None;
                self.begin_walk(Purpose::Compare, "emptied").await?;
            }
            // It is too old to be told of; what it stood for cannot be known any more.
            Err(error) if needs_new_snapshot(&error) => self.progress.witness = last,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    pub(super) async fn save(&mut self) -> Result<(), Trouble> {
        self.save_with(None).await
    }

    /// Lets operators know what keeps the tail from going on.
    pub async fn tell(&mut self, trouble: &Trouble) {
        if let Err(error) = self.save_with(Some(trouble.to_string())).await {
            tracing::debug!(%error, "the tail's trouble could not be kept");
        }
    }

    async fn save_with(&mut self, trouble: Option<String>) -> Result<(), Trouble> {
        let health = self.health(trouble);
        report::health(&health, self.progress.cursor);
        self.lead.save(&self.progress, &health).await?;
        self.saved = Some(Instant::now());
        Ok(())
    }

    fn health(&self, trouble: Option<String>) -> Health {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let lag = self.clock.map_or(0.0, |(then, at)| {
            let settled = self.progress.cursor.unwrap_or(then);
            at.elapsed().as_secs_f64() + (then.saturating_sub(settled)) as f64 / 1e9
        });
        Health {
            at: since_1970.unwrap_or_default().as_millis() as u64,
            lag_secs: lag.max(0.0),
            lag_rows: self.lag_rows,
            trouble,
        }
    }
}

/// Whether Convex no longer has, or never had, what was asked for, so that only a walk at a new
/// time can help.
fn needs_new_snapshot(error: &ConvexError) -> bool {
    matches!(
        error,
        ConvexError::CursorExpired { .. }
            | ConvexError::CursorUnknown { .. }
            | ConvexError::SnapshotTooNew { .. }
    )
}
