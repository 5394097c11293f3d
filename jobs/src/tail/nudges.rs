//! The nudges of a change.
//!
//! They know a file by its user and id. Whoever follows the nudges of one of these ends with what
//! Convex holds: each change of a document is published to those of the name that it left and to those
//! of the name that it has.

use sluice_store::tail::{Known, Nudge, NudgeKind};

/// What a change of a document means for the names that it leaves and joins.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NameChange {
    /// Other documents have the name that it leaves.
    pub leaves_shared: bool,
    /// Other documents have the name that it joins.
    pub joins_shared: bool,
}

/// The nudges of a document that was `former` and is `known` from `ts` (ns) on.
pub(super) fn nudges(
    former: Option<&Known>,
    known: Option<&Known>,
    names: NameChange,
    doc_id: &str,
    ts: i64,
) -> Vec<Nudge> {
    let nudge = |change, name: &Known, former_user: Option<&Known>| Nudge {
        change,
        user: name.user.to_string(),
        former_user: former_user.map(|former| former.user.to_string()),
        id: name.id.to_string(),
        doc_id: doc_id.to_owned(),
        ts: ts.to_string(),
    };
    let left = if names.leaves_shared {
        NudgeKind::Updated
    } else {
        NudgeKind::Deleted
    };
    let joined = if names.joins_shared {
        NudgeKind::Updated
    } else {
        NudgeKind::Created
    };
    match (former, known) {
        (Some(former), Some(known)) if former == known => {
            vec![nudge(NudgeKind::Updated, known, None)]
        }
        // One nudge tells both users, since the id is the same and no other document of the former
        // one has it.
        (Some(former), Some(known)) if former.id == known.id && !names.leaves_shared => {
            vec![nudge(NudgeKind::Updated, known, Some(former))]
        }
        (former, known) => {
            let left = former.map(|former| nudge(left, former, None));
            let joined = known.map(|known| nudge(joined, known, None));
            left.into_iter().chain(joined).collect()
        }
    }
}
