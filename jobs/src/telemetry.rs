//! What operators watch of jobs and of the tail: every metric with its help.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// Describes this crate's metrics and begins its counters and gauges at 0. Call it once a recorder
/// is installed.
pub fn describe_metrics() {
    describe_tail();
    describe_filesync();
    for (name, help) in [
        (
            "sluice_sync_entries_total",
            "Entries that syncs put into the cache",
        ),
        (
            "sluice_sync_bytes_total",
            "Bytes that syncs put into the cache",
        ),
        (
            "sluice_prefetch_entries_total",
            "Entries that prefetches put into the cache",
        ),
        (
            "sluice_documents_purged_total",
            "Ids of documents that had gone, removed from the indexes",
        ),
        (
            "sluice_filesync_devices_asleep_total",
            "Devices that were not seen for long and were put to sleep",
        ),
        (
            "sluice_filesync_trimmed_total",
            "Entries, outcomes, nodes and versions of shares that were trimmed",
        ),
    ] {
        describe_counter!(name, help);
        counter!(name).increment(0);
    }
}

fn describe_filesync() {
    let name = "sluice_filesync_contents_removed_total";
    describe_counter!(
        name,
        "Contents of files whose bytes were removed: garbage, or orphans, which nothing knew of"
    );
    for why in ["garbage", "orphan"] {
        counter!(name, "why" => why).increment(0);
    }
}

fn describe_tail() {
    describe_gauge!(
        "sluice_tail_lag_seconds",
        Unit::Seconds,
        "How long ago all that is in Convex was known here; 0 in workers that do not tail"
    );
    describe_gauge!(
        "sluice_tail_cursor_seconds",
        Unit::Seconds,
        "Up to when changes in Convex are settled, since 1970"
    );
    for (name, help) in [
        ("sluice_tail_leads", "1 in the worker that follows Convex"),
        (
            "sluice_tail_lag_rows",
            "Changes taken in since then and not yet to the end",
        ),
    ] {
        describe_gauge!(name, help);
    }
    for name in [
        "sluice_tail_leads",
        "sluice_tail_lag_seconds",
        "sluice_tail_lag_rows",
        "sluice_tail_cursor_seconds",
    ] {
        gauge!(name).increment(0.0);
    }
    for (name, help) in [
        (
            "sluice_tail_takeovers_total",
            "Times this worker got the lease",
        ),
        ("sluice_tail_lease_lost_total", "Times it lost the lease"),
        (
            "sluice_tail_data_lost_total",
            "Times Valkey had lost what the tail wrote",
        ),
        (
            "sluice_tail_extensions_failed_total",
            "Extensions of the lease that failed",
        ),
        (
            "sluice_tail_settled_total",
            "Changes settled and made known",
        ),
        (
            "sluice_tail_cached_entries_total",
            "Cached entries that were refreshed, added or removed",
        ),
        (
            "sluice_tail_restarts_total",
            "Walks because Convex no longer had the deltas",
        ),
    ] {
        describe_counter!(name, help);
        counter!(name).increment(0);
    }
    for (name, help, label, values) in [
        (
            "sluice_tail_pages_total",
            "Pages done, of deltas and of snapshots",
            "of",
            ["deltas", "snapshot"].as_slice(),
        ),
        (
            "sluice_tail_changes_total",
            "Changes come by, by kind; known ones had been settled",
            "kind",
            &["created", "updated", "deleted", "known"],
        ),
        (
            "sluice_tail_walks_total",
            "Walks over all files, by reason",
            "reason",
            &["first", "expired", "scheduled", "emptied"],
        ),
        (
            "sluice_tail_errors_total",
            "Failures, by kind",
            "kind",
            &["valkey", "convex", "refused_key"],
        ),
    ] {
        describe_counter!(name, help);
        for value in values {
            counter!(name, label => *value).increment(0);
        }
    }
}
