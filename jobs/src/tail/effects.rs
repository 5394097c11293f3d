//! What a change in Convex comes to here.
//!
//! First the cache, which may be brought up to date any number of times; then, last of all, the ledger, which settles the
//! change and makes it known once. A crash in between brings the change again.

use std::collections::HashMap;

use sluice_convex::FileChange;
use sluice_store::StoreError;
use sluice_store::cache::{Cache, Change, ChangeKind};
use sluice_store::tail::{Known, Lead, Look, Nudge, NudgeKind, Settlement, Unmarked};

use super::report;
use crate::late_changes::entry;

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

/// Brings a batch of changes about, and settles them. `generation` is that of the present or last walk.
pub(super) async fn bring_about(
    lead: &Lead,
    cache: &Cache,
    changes: Vec<FileChange>,
    source: Source,
    generation: u16,
) -> Result<(), StoreError> {
    let documents: Vec<(&str, i64)> = changes
        .iter()
        .map(|change| (&*change.doc_id, change.ts))
        .collect();
    let in_walk = (source != Source::Deltas).then_some(generation);
    let looks = lead.look(&documents, in_walk).await?;
    let mut effects = Effects::new(source);
    // A document may change several times in a batch.
    let mut latest: HashMap<Box<str>, Option<Known>> = HashMap::new();
    for (change, look) in changes.into_iter().zip(looks) {
        let former = match (latest.remove(&change.doc_id), look) {
            (_, Look::Settled) => {
                report::change(None);
                continue;
            }
            (Some(former), _) => former,
            (None, Look::Known(known)) => Some(known),
            (None, Look::Unknown) => None,
        };
        let doc_id = change.doc_id.clone();
        latest.insert(doc_id, effects.add(change, former));
    }
    effects.settle(lead, cache, generation).await
}

/// Removes documents that a walk has not come by; they were gone by its snapshot.
pub(super) async fn remove_unmarked(
    lead: &Lead,
    cache: &Cache,
    unmarked: Vec<Unmarked>,
    source: Source,
    generation: u16,
    snapshot: i64,
) -> Result<(), StoreError> {
    let mut effects = Effects::new(source);
    for Unmarked { doc_id, known } in unmarked {
        let change = FileChange {
            ts: snapshot,
            doc_id,
            file: None,
        };
        effects.add(change, Some(known));
    }
    effects.settle(lead, cache, generation).await
}

/// What is to be done, gathered so that it takes few round trips.
struct Effects {
    source: Source,
    /// By user, in the order of their coming.
    cache: Vec<(Box<str>, Vec<Change>)>,
    places: HashMap<Box<str>, usize>,
    /// Files that are gone, whose accesses need not be remembered.
    forgotten: Vec<(Box<str>, String)>,
    settlements: Vec<Settlement>,
}

impl Effects {
    fn new(source: Source) -> Effects {
        Effects {
            source,
            cache: Vec::new(),
            places: HashMap::new(),
            forgotten: Vec::new(),
            settlements: Vec::new(),
        }
    }

    /// Adds a change of a document that was `former` until then. Returns what it is from then on.
    fn add(&mut self, change: FileChange, former: Option<Known>) -> Option<Known> {
        let FileChange { ts, doc_id, file } = change;
        let known = file.as_ref().map(|file| Known {
            user: file.user.clone(),
            id: file.id.clone(),
        });
        let learns = !matches!(self.source, Source::Walk { learns: false, .. });
        let kind = match (&former, &known) {
            (None, None) => None,
            (None, Some(_)) => learns.then_some(NudgeKind::Created),
            (Some(_), Some(_)) => Some(NudgeKind::Updated),
            (Some(_), None) => Some(NudgeKind::Deleted),
        };
        let Some(kind) = kind else {
            return former;
        };
        report::change(Some(kind));

        if let Some(file) = file {
            let (user, doc_id) = (file.user.clone(), doc_id.clone());
            let kind = ChangeKind::Put(entry(file));
            self.amend(&user, Change { ts, doc_id, kind });
        }
        if let Some(former) = &former {
            self.leave(former, known.as_ref(), &doc_id, ts);
        }
        let tells = !matches!(self.source, Source::Walk { tells: false, .. });
        let nudge = tells.then(|| nudge(kind, former.as_ref(), known.as_ref(), &doc_id, ts));
        self.settlements.push(Settlement {
            doc_id,
            ts,
            file: known.clone(),
            nudge: nudge.flatten(),
        });
        known
    }

    /// Takes a file away from where it was, as far as it is not there any more.
    fn leave(&mut self, former: &Known, known: Option<&Known>, doc_id: &str, ts: i64) {
        let ts = match known {
            Some(known) if known == former => return,
            // It has another id: what was cached or is being fetched under the former one goes, the new revision stays.
            Some(known) if known.user == former.user => ts - 1,
            Some(_) => ts,
            None => {
                // What a walk does not come by may have been replaced under the same id.
                if self.source == Source::Deltas {
                    let forgotten = (former.user.clone(), former.id.to_string());
                    self.forgotten.push(forgotten);
                }
                ts
            }
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

    async fn settle(self, lead: &Lead, cache: &Cache, generation: u16) -> Result<(), StoreError> {
        let amended = cache.amend_all(&self.cache).await?;
        cache.forget_accesses(&self.forgotten).await?;
        let are_deltas = self.source == Source::Deltas;
        let settled = lead
            .settle(&self.settlements, generation, are_deltas)
            .await?;
        report::effects(amended, settled);
        Ok(())
    }
}

fn nudge(
    kind: NudgeKind,
    former: Option<&Known>,
    known: Option<&Known>,
    doc_id: &str,
    ts: i64,
) -> Option<Nudge> {
    let shown = known.or(former)?;
    let moved = former.filter(|former| former.user != shown.user);
    Some(Nudge {
        change: kind,
        user: shown.user.to_string(),
        former_user: moved.map(|former| former.user.to_string()),
        id: shown.id.to_string(),
        doc_id: doc_id.to_owned(),
        ts: ts.to_string(),
    })
}
