//! What a change in Convex comes to here.
//!
//! Convex's log speaks of documents; readers and listeners know a file by its name, a user and an
//! id, which several documents may have. Of these the newest is shown. So first the ledger notes
//! which documents come to a name and leave it, and tells whether others have it, too. Then the
//! cache is brought up to date. Both may be done any number of times. Last of all the ledger
//! settles the change and makes it known once. A crash in between brings the change again.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt;
use sluice_convex::{File, FileChange, Files};
use sluice_store::StoreError;
use sluice_store::cache::{Cache, Change, ChangeKind};
use sluice_store::filesync::{Filesync, FilesyncError, Followed, Happened};
use sluice_store::tail::{
    Known, Lead, LedgerState, Naming, NudgeKind, Settlement, SweepCursors, Unmarked,
};

use super::nudges::{NameChange, nudges};
use super::report;
use super::trouble::Trouble;
use crate::meta::{entry, successors};

/// Where changes come from, which decides what they may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The deltas, in the order of time.
    Deltas,
    /// A walk: what it comes by is as it was at the snapshot.
    Walk {
        /// Documents that the ledger does not know are new.
        learns: bool,
        /// Changes are made known.
        tells: bool,
    },
}

/// What effects reach, and where they look.
#[derive(Clone, Copy)]
pub(super) struct Reach<'a> {
    pub lead: &'a Lead,
    pub cache: &'a Cache,
    pub files: &'a dyn Files,
    pub filesync: &'a Filesync,
    /// The tenant of file sync, if it follows.
    pub tenant: Option<&'a str>,
}

/// A change, and what the document was until then.
struct Step {
    change: FileChange,
    former: Option<Known>,
    /// What it is from then on.
    known: Option<Known>,
}

/// Brings a batch of changes about, and settles them. `generation` is that of the present or last
/// walk.
pub(super) async fn bring_about(
    reach: Reach<'_>,
    changes: Vec<FileChange>,
    source: Source,
    generation: u16,
) -> Result<(), Trouble> {
    let documents: Vec<(&str, i64)> = changes
        .iter()
        .map(|change| (&*change.doc_id, change.ts))
        .collect();
    let in_walk = (source != Source::Deltas).then_some(generation);
    let looks = reach.lead.look(&documents, in_walk).await?;
    let learns = !matches!(source, Source::Walk { learns: false, .. });
    let mut steps = Vec::new();
    // A document may change several times in a batch.
    let mut latest: HashMap<Box<str>, Option<Known>> = HashMap::new();
    for (change, look) in changes.into_iter().zip(looks) {
        let former = match (latest.remove(&change.doc_id), look) {
            (_, LedgerState::Settled) => {
                report::change(None);
                continue;
            }
            (Some(former), _) => former,
            (None, LedgerState::Known(known)) => Some(known),
            (None, LedgerState::Unknown) => None,
        };
        let step = Step::new(change, former);
        if step.former.is_some() || (step.known.is_some() && learns) {
            latest.insert(step.change.doc_id.clone(), step.known.clone());
            steps.push(step);
        }
    }
    carry_out(reach, steps, source, generation).await
}

/// Removes documents that a walk has not come by; they were gone by its snapshot.
pub(super) async fn remove_unmarked(
    reach: Reach<'_>,
    unmarked: Vec<Unmarked>,
    source: Source,
    generation: u16,
    snapshot: i64,
) -> Result<(), Trouble> {
    let steps = unmarked.into_iter().map(|Unmarked { doc_id, known }| {
        let change = FileChange {
            ts: snapshot,
            doc_id,
            file: None,
        };
        Step::new(change, Some(known))
    });
    carry_out(reach, steps.collect(), source, generation).await
}

/// Notes the names of all documents in the ledger, after a version that knew of no names.
pub(super) async fn name_all(lead: &Lead) -> Result<(), StoreError> {
    lead.forget_names().await?;
    let mut cursors = SweepCursors::default();
    while !cursors.are_done() {
        let documents = lead.sweep(None, &mut cursors).await?;
        let namings: Vec<Naming> = documents
            .iter()
            .map(|Unmarked { doc_id, known }| Naming {
                doc_id,
                name: known,
                has: true,
            })
            .collect();
        lead.name(&namings).await?;
    }
    Ok(())
}

async fn carry_out(
    reach: Reach<'_>,
    steps: Vec<Step>,
    source: Source,
    generation: u16,
) -> Result<(), Trouble> {
    let namings: Vec<Naming> = steps.iter().flat_map(Step::namings).collect();
    let mut shared = reach.lead.name(&namings).await?.into_iter();
    let mut effects = Effects {
        tells: !matches!(source, Source::Walk { tells: false, .. }),
        ..Effects::default()
    };
    for step in steps {
        let mut is_shared = |changes: bool| changes && shared.next().unwrap_or_default();
        let names = NameChange {
            leaves_shared: is_shared(step.leaves().is_some()),
            joins_shared: is_shared(step.joins().is_some()),
        };
        effects.add(step, names);
    }
    effects
        .settle(reach, generation, source == Source::Deltas)
        .await
}

impl Step {
    fn new(change: FileChange, former: Option<Known>) -> Step {
        let known = change.file.as_ref().map(|file| Known {
            user: file.user.clone(),
            id: file.id.clone(),
        });
        Step {
            change,
            former,
            known,
        }
    }

    /// The name that the document had and has no longer.
    fn leaves(&self) -> Option<&Known> {
        self.former.as_ref().filter(|_| self.former != self.known)
    }

    /// The name that it has and did not have.
    fn joins(&self) -> Option<&Known> {
        self.known.as_ref().filter(|_| self.former != self.known)
    }

    fn namings(&self) -> impl Iterator<Item = Naming<'_>> {
        let names = [(self.leaves(), false), (self.joins(), true)];
        names.into_iter().filter_map(|(name, has)| {
            Some(Naming {
                doc_id: &self.change.doc_id,
                name: name?,
                has,
            })
        })
    }
}

/// What is to be done, gathered so that it takes few round trips.
#[derive(Default)]
struct Effects {
    /// Changes are made known.
    tells: bool,
    /// By user, in the order of their coming.
    cache: Vec<(Box<str>, Vec<Change>)>,
    places: HashMap<Box<str>, usize>,
    /// User and id of what a document left and others have.
    inherited: HashSet<(Box<str>, Box<str>)>,
    /// Files that are gone, whose accesses need not be remembered.
    forgotten: Vec<(Box<str>, String)>,
    /// What the logs of file sync get, in order.
    followed: Vec<Followed>,
    settlements: Vec<Settlement>,
}

impl Effects {
    fn add(&mut self, step: Step, names: NameChange) {
        if let Some(left) = step.leaves() {
            if names.leaves_shared {
                let name = (left.user.clone(), left.id.clone());
                self.inherited.insert(name);
            } else if step.known.is_none() {
                let name = (left.user.clone(), left.id.to_string());
                self.forgotten.push(name);
            }
        }
        let Step {
            change: FileChange { ts, doc_id, file },
            former,
            known,
        } = step;
        report::change(Some(match (&former, &known) {
            (None, _) => NudgeKind::Created,
            (Some(_), Some(_)) => NudgeKind::Updated,
            (Some(_), None) => NudgeKind::Deleted,
        }));
        if self.tells {
            self.follow(&doc_id, ts, former.as_ref(), file.as_ref());
        }
        if let Some(file) = file {
            let (user, doc_id) = (file.user.clone(), doc_id.clone());
            let kind = ChangeKind::Put(entry(file));
            self.amend(&user, Change { ts, doc_id, kind });
        }
        if let Some(former) = &former {
            self.leave(former, known.as_ref(), &doc_id, ts);
        }
        let nudges = if self.tells {
            nudges(former.as_ref(), known.as_ref(), names, &doc_id, ts)
        } else {
            Vec::new()
        };
        self.settlements.push(Settlement {
            doc_id,
            ts,
            file: known,
            nudges,
        });
    }

    /// Has file sync follow: in the share of the owner, and of the former one.
    fn follow(&mut self, doc_id: &str, ts: i64, former: Option<&Known>, file: Option<&File>) {
        let mut follow = |user: &str, what| {
            self.followed.push(Followed {
                user: user.to_owned(),
                doc_id: doc_id.to_owned(),
                ts,
                what,
            });
        };
        match (former, file) {
            (Some(former), None) => follow(&former.user, Happened::Gone),
            (Some(former), Some(file)) if former.user != file.user => {
                follow(&former.user, Happened::Left);
            }
            _ => {}
        }
        if let Some(file) = file {
            follow(&file.user, Happened::Put(file.json.clone()));
        }
    }

    /// Takes a file away from where it was, as far as it is not there any more.
    fn leave(&mut self, former: &Known, known: Option<&Known>, doc_id: &str, ts: i64) {
        let ts = match known {
            Some(known) if known == former => return,
            // It has another id: what was cached or is being fetched under the former one goes, the
            // new revision stays.
            Some(known) if known.user == former.user => ts - 1,
            _ => ts,
        };
        let id = Some(former.id.clone());
        let removal = Change {
            ts,
            doc_id: doc_id.into(),
            kind: ChangeKind::Remove { id },
        };
        self.amend(&former.user, removal);
    }

    fn amend(&mut self, user: &str, change: Change) {
        let place = match self.places.get(user) {
            Some(&place) => place,
            None => {
                self.places.insert(user.into(), self.cache.len());
                self.cache.push((user.into(), Vec::new()));
                self.cache.len() - 1
            }
        };
        self.cache[place].1.push(change);
    }

    async fn settle(
        self,
        reach: Reach<'_>,
        generation: u16,
        are_deltas: bool,
    ) -> Result<(), Trouble> {
        let Reach {
            lead,
            cache,
            filesync,
            tenant,
            ..
        } = reach;
        let amended = cache.amend_all(&self.cache).await?;
        if let Some(tenant) = tenant {
            let followed = filesync.follow(tenant, &self.followed).await;
            followed.map_err(|error| match error {
                FilesyncError::Store(error) => error,
                _ => StoreError::Corrupt("a change of a document"),
            })?;
        }
        let mut left: HashMap<Box<str>, Vec<String>> = HashMap::new();
        for (user, id) in amended.left {
            if self.inherited.contains(&(user.clone(), id.as_str().into())) {
                left.entry(user).or_default().push(id);
            }
        }
        succeed(reach, left).await?;
        cache.forget_accesses(&self.forgotten).await?;
        let settled = lead
            .settle(&self.settlements, generation, are_deltas)
            .await?;
        report::effects(amended.touched, settled);
        Ok(())
    }
}

/// Has other documents shown under the ids that those shown there left, by user. The ledger knows
/// that there are others; what is in them only Convex does.
async fn succeed(
    Reach { cache, files, .. }: Reach<'_>,
    left: HashMap<Box<str>, Vec<String>>,
) -> Result<(), Trouble> {
    for (user, ids) in left {
        let since = files.now().await?;
        let mut found = successors(files, &user, &ids, since);
        while let Some(changes) = found.try_next().await? {
            cache.succeed(&user, &changes).await?;
        }
    }
    Ok(())
}
