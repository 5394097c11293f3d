//! What operators watch of the content store: every metric with its help.

use metrics::{Unit, counter, describe_counter, describe_histogram};

/// The calls that there are.
const CALLS: [&str; 4] = ["put", "get", "delete", "list"];

/// Describes this crate's metrics and begins its counters at 0. Call it once a recorder is
/// installed.
pub fn describe_metrics() {
    describe_histogram!(
        "sluice_objects_call_seconds",
        Unit::Seconds,
        "Time that a call of the content store took, with what was repeated, by name; of get until \
         the first bytes"
    );
    for (name, help) in [
        (
            "sluice_objects_errors_total",
            "Attempts of calls of the content store that failed, by name",
        ),
        (
            "sluice_objects_retries_total",
            "Calls of the content store that were repeated, by name",
        ),
    ] {
        describe_counter!(name, help);
        for call in CALLS {
            counter!(name, "call" => call).increment(0);
        }
    }
    for (name, help) in [
        (
            "sluice_objects_written_bytes_total",
            "Bytes of parts that were written",
        ),
        (
            "sluice_objects_read_bytes_total",
            "Bytes of contents that were read",
        ),
    ] {
        describe_counter!(name, help);
        counter!(name).increment(0);
    }
}
