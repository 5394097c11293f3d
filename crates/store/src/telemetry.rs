//! What operators watch of the store: every metric with its help.

use metrics::{Unit, counter, describe_counter, describe_histogram};

/// Describes this crate's metrics and begins its counters at 0. Call it once a recorder is
/// installed.
pub fn describe_metrics() {
    describe_histogram!(
        "sluice_store_script_seconds",
        Unit::Seconds,
        "Time that a function or command took, with what was repeated, by name"
    );
    describe_counter!(
        "sluice_store_errors_total",
        "Attempts of functions and commands that failed, by name"
    );
    for (name, help) in [
        (
            "sluice_entry_fetches_total",
            "Entries fetched from Convex after a miss",
        ),
        (
            "sluice_accesses_lost_total",
            "Accesses that were not recorded: Valkey took no writes, or too many ids waited",
        ),
        (
            "sluice_document_writes_outrun_total",
            "Writes of documents that were computed anew because another process was faster",
        ),
    ] {
        describe_counter!(name, help);
        counter!(name).increment(0);
    }
}
