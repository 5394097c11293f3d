//! Walking over all documents, page by page.

use sluice_convex::files::history::{WalkBatch, WalkEnd};
use sluice_store::tail::{Purpose, SweepCursors, WalkProgress};

use super::effects::{Source, bring_about, remove_unmarked};
use super::follow::Follower;
use super::report;
use super::trouble::Trouble;

impl Follower<'_> {
    /// Begins a walk at the present time, in the place of one that is under way.
    pub(super) async fn begin_walk(
        &mut self,
        purpose: Purpose,
        reason: &'static str,
    ) -> Result<(), Trouble> {
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
    pub(super) async fn walk(&mut self, mut at: WalkProgress) -> Result<(), Trouble> {
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
            return Ok(());
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
                bring_about(self.reach, changes, source, generation),
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
        Ok(())
    }

    /// Removes what the walk has not come by, and ends it.
    async fn sweep(&mut self, walk: &WalkProgress, source: Source) -> Result<(), Trouble> {
        let generation = self.progress.generation;
        let mut cursors = SweepCursors::default();
        while !cursors.are_done() {
            let unmarked = self.lead.sweep(Some(generation), &mut cursors).await?;
            remove_unmarked(self.reach, unmarked, source, generation, walk.snapshot).await?;
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
}
