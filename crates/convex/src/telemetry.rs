//! What operators watch of Convex, called and served: every metric with its help.

use metrics::{Unit, counter, describe_counter, describe_histogram};

/// Describes this crate's metrics and begins its counters at 0. Call it once a recorder is
/// installed.
pub fn describe_metrics() {
    describe_counter!(
        "sluice_convex_requests_total",
        "Attempts of calls to Convex, by endpoint and outcome"
    );
    describe_counter!(
        "sluice_convex_retries_total",
        "Calls to Convex that were repeated, by endpoint"
    );
    describe_counter!(
        "sluice_convex_bytes_total",
        "Bytes of Convex's answers, by endpoint"
    );
    describe_histogram!(
        "sluice_convex_request_seconds",
        Unit::Seconds,
        "Time until the head of Convex's answer, by endpoint"
    );
    describe_counter!(
        "sluice_convex_embedded_requests_total",
        "Requests that the Convex-compatible store answered, by route and status"
    );
    describe_histogram!(
        "sluice_convex_embedded_request_seconds",
        Unit::Seconds,
        "Time until the head of its answer, by route"
    );
    describe_counter!(
        "sluice_convex_embedded_rows_read_total",
        "Rows that it read to answer"
    );
    describe_histogram!(
        "sluice_convex_embedded_commit_transactions",
        "Transactions that it committed together"
    );
    describe_histogram!(
        "sluice_convex_embedded_commit_seconds",
        Unit::Seconds,
        "Time that a commit took"
    );
    describe_counter!(
        "sluice_convex_embedded_commits_total",
        "Commits, by outcome"
    );
    for outcome in ["ok", "failed"] {
        counter!("sluice_convex_embedded_commits_total", "outcome" => outcome).increment(0);
    }
    counter!("sluice_convex_embedded_rows_read_total").increment(0);
}
