//! What operators see of the tail.

use metrics::{counter, gauge};
use sluice_store::StoreError;
use sluice_store::tail::{Health, NudgeKind, Purpose};

use super::trouble::Trouble;

/// Whether this process tails.
pub(super) fn leads(leads: bool) {
    gauge!("sluice_tail_leads").set(if leads { 1.0 } else { 0.0 });
    if leads {
        counter!("sluice_tail_takeovers_total").increment(1);
        tracing::info!("this worker tails Convex");
    } else {
        // What another worker does shows in its own metrics.
        gauge!("sluice_tail_lag_seconds").set(0.0);
        gauge!("sluice_tail_lag_rows").set(0.0);
    }
}

pub(super) fn health(health: &Health, cursor: Option<i64>) {
    if let Some(cursor) = cursor {
        gauge!("sluice_tail_cursor_seconds").set(cursor as f64 / 1e9);
    }
    gauge!("sluice_tail_lag_seconds").set(health.lag_secs);
    gauge!("sluice_tail_lag_rows").set(health.lag_rows as f64);
}

pub(super) fn trouble(trouble: &Trouble) {
    let kind = match trouble {
        Trouble::Store(StoreError::Superseded) => {
            counter!("sluice_tail_lease_lost_total").increment(1);
            tracing::warn!(
                "the lease on the tail ran out, or another worker has it; waiting for it"
            );
            return;
        }
        Trouble::Store(StoreError::DataLost) => {
            counter!("sluice_tail_data_lost_total").increment(1);
            tracing::warn!("Valkey lost data of the tail; going on from what it has");
            return;
        }
        Trouble::Store(_) => "valkey",
        Trouble::Convex(error) if error.is_refused_key() => {
            tracing::error!(%error, "Convex refuses the deploy key: nothing that changes there is seen here");
            "refused_key"
        }
        Trouble::Convex(_) => "convex",
    };
    counter!("sluice_tail_errors_total", "kind" => kind).increment(1);
    if kind != "refused_key" {
        tracing::warn!(error = %trouble, "the tail cannot go on; it will try again");
    }
}

/// A page that is done.
pub(super) fn page(of: &'static str) {
    counter!("sluice_tail_pages_total", "of" => of).increment(1);
}

/// A walk that begins, and why.
pub(super) fn walk_begins(purpose: Purpose, reason: &'static str, snapshot: i64) {
    counter!("sluice_tail_walks_total", "reason" => reason).increment(1);
    if purpose == Purpose::Restart {
        counter!("sluice_tail_restarts_total").increment(1);
    }
    tracing::info!(
        ?purpose,
        reason,
        snapshot,
        "walking over all files in Convex"
    );
}

/// Changes that were not known before.
pub(super) fn change(kind: Option<NudgeKind>) {
    let kind = match kind {
        Some(NudgeKind::Created) => "created",
        Some(NudgeKind::Updated) => "updated",
        Some(NudgeKind::Deleted) => "deleted",
        None => "known",
    };
    counter!("sluice_tail_changes_total", "kind" => kind).increment(1);
}

/// What came of a batch.
pub(super) fn effects(cached: u64, settled: u64) {
    counter!("sluice_tail_cached_entries_total").increment(cached);
    counter!("sluice_tail_settled_total").increment(settled);
}
