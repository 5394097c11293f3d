//! Following Convex: walks over all documents where that is needed, deltas for the rest of the time.

use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sluice_convex::ConvexError;
use sluice_convex::files::history::{DeltaBatch, WalkBatch, WalkEnd};
use sluice_store::cache::Cache;
use sluice_store::tail::{Health, Lead, Progress, Purpose, SweepCursors, WalkProgress};
use tokio::time::sleep;

use super::effects::{Source, bring_about, remove_unmarked};
use super::lease::Held;
use super::{TailConfig, Trouble, jittered, report};

/// How often a tail that has nothing to do looks whether the table was emptied, and says that it is well.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// How often it says how it is doing, at least.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// The tail in the hands of one worker.
pub(super) struct Follower<'a> {
    lead: &'a Lead,
    cache: &'a Cache,
    config: &'a TailConfig,
    progress: Progress,
    saved: Option<Instant>,
    /// When the witness was last asked for.
    checked: Option<Instant>,
    /// What Convex's time was at some moment, to tell how far behind the cursor is.
    clock: Option<(i64, Instant)>,
    lag_rows: u64,
}

impl<'a> Follower<'a> {
    pub fn new(held: &'a Held, cache: &'a Cache, config: &'a TailConfig) -> Follower<'a> {
        Follower {
            lead: &held.lead,
            cache,
            config,
            progress: held.lead.progress().clone(),
            saved: None,
            checked: None,
            clock: None,
            lag_rows: 0,
        }
    }

    /// Follows until that fails. `failures` is set to 0 as soon as something succeeds.
    pub async fn run(&mut self, failures: &mut u32) -> Trouble {
        let Err(trouble) = self.follow_on(failures).await;
        trouble
    }

    async fn follow_on(&mut self, failures: &mut u32) -> Result<Infallible, Trouble> {
        self.lead.fence().await?;
        self.clock = Some((self.config.history.now().await?, Instant::now()));
        loop {
            let idle = self.step().await?;
            *failures = 0;
            if idle {
                sleep(jittered(self.config.interval)).await;
            }
        }
    }

    /// Does what is next. Whether there is nothing more to do for now.
    async fn step(&mut self) -> Result<bool, Trouble> {
        let outcome = match (&self.progress.walk, self.progress.cursor) {
            (Some(walk), _) if walk.purpose != Purpose::Compare => self.walk(walk.clone()).await,
            (_, None) => {
                self.begin_walk(Purpose::Begin, "first").await?;
                return Ok(false);
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
                Ok(false)
            }
            outcome => outcome,
        }
    }

    /// Follows the deltas to their end, then goes on with a comparison, if there is one.
    async fn take_turn(&mut self, cursor: i64) -> Result<bool, Trouble> {
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
            return Ok(false);
        }
        if self.is_comparison_due() {
            self.begin_walk(Purpose::Compare, "scheduled").await?;
            return Ok(false);
        }
        Ok(true)
    }

    fn is_comparison_due(&self) -> bool {
        let (Some(every), Some(cursor)) = (self.config.compare_every, self.progress.cursor) else {
            return false;
        };
        let since = cursor.saturating_sub(self.progress.compared.unwrap_or(cursor));
        i128::from(since) > every.as_nanos() as i128
    }

    async fn begin_walk(&mut self, purpose: Purpose, reason: &'static str) -> Result<(), Trouble> {
        let snapshot = self.config.history.now().await?;
        self.progress.generation = self.progress.generation.wrapping_add(1);
        self.progress.walk = Some(WalkProgress {
            purpose,
            snapshot,
            cursor: None,
            walked: false,
            newest: None,
        });
        report::walk_begins(purpose, reason, snapshot);
        self.save().await
    }

    /// Walks to the end of the table, or one page where deltas are to be followed meanwhile.
    async fn walk(&mut self, mut at: WalkProgress) -> Result<bool, Trouble> {
        let source = Source::Walk {
            learns: at.purpose != Purpose::Compare,
            tells: at.purpose != Purpose::Begin,
        };
        if at.walked {
            // What was written until the snapshot has to be settled before anything counts as gone.
            let settled = at.purpose != Purpose::Compare
                || self
                    .progress
                    .cursor
                    .is_some_and(|cursor| cursor >= at.snapshot);
            if settled {
                self.sweep(&at, source).await?;
            }
            return Ok(false);
        }
        let mut pages = self.config.history.walk(at.snapshot, at.cursor.clone());
        let mut batch = pages.next().await?;
        while let Some(WalkBatch { changes, end }) = batch {
            let newest = changes.iter().map(|change| change.ts).max();
            at.newest = at.newest.max(newest);
            self.lag_rows += changes.len() as u64;
            let is_last = match end {
                Some(WalkEnd::Page(_)) => at.purpose == Purpose::Compare,
                Some(WalkEnd::Table) => true,
                None => false,
            };
            let generation = self.progress.generation;
            let (done, next) = tokio::join!(
                bring_about(self.lead, self.cache, changes, source, generation),
                async {
                    if is_last {
                        Ok(None)
                    } else {
                        pages.next().await
                    }
                }
            );
            done?;
            // What is done is kept before what is wrong with the next page counts.
            if let Some(end) = end {
                at.walked = end == WalkEnd::Table;
                at.cursor = match end {
                    WalkEnd::Page(cursor) => Some(cursor),
                    WalkEnd::Table => None,
                };
                self.progress.walk = Some(at.clone());
                report::page("snapshot");
                self.save().await?;
            }
            batch = next?;
        }
        Ok(false)
    }

    /// Removes what the walk has not come by, and ends it.
    async fn sweep(&mut self, walk: &WalkProgress, source: Source) -> Result<(), Trouble> {
        let generation = self.progress.generation;
        let mut cursors = SweepCursors::default();
        while !cursors.are_done() {
            let unmarked = self.lead.sweep(generation, &mut cursors).await?;
            remove_unmarked(
                self.lead,
                self.cache,
                unmarked,
                source,
                generation,
                walk.snapshot,
            )
            .await?;
        }
        if walk.purpose != Purpose::Compare {
            self.progress.cursor = Some(walk.snapshot);
            self.progress.witness = None;
        }
        self.progress.witness = self.progress.witness.or(walk.newest);
        self.progress.compared = Some(walk.snapshot);
        self.progress.walk = None;
        self.save().await
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
                self.lead,
                self.cache,
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

    /// Looks whether the log still tells of a change that it told of before those since `first`. If so, no table was emptied or
    /// replaced up to now, and the `last` change becomes the next witness.
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

    async fn save(&mut self) -> Result<(), Trouble> {
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

/// Whether Convex no longer has, or never had, what was asked for, so that only a walk at a new time can help.
fn needs_new_snapshot(error: &ConvexError) -> bool {
    matches!(
        error,
        ConvexError::CursorExpired { .. }
            | ConvexError::CursorUnknown { .. }
            | ConvexError::SnapshotTooNew { .. }
    )
}
