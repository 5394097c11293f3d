//! What operators watch of the API: every metric with its help.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

use crate::meta::read::SOURCES;

/// Describes this crate's metrics and begins its counters and gauges at 0. Call it once a recorder
/// is installed.
pub fn describe_metrics() {
    describe_counter!(
        "sluice_http_requests_total",
        "Requests answered, by method, route and status"
    );
    describe_histogram!(
        "sluice_http_request_seconds",
        Unit::Seconds,
        "Time until the head of the answer, by method and route"
    );
    describe_counter!(
        "sluice_entry_reads_total",
        "Entries read, by source: bulk, hit or miss"
    );
    describe_counter!(
        "sluice_document_sockets_closed_total",
        "WebSockets closed by the server, by code"
    );
    describe_counter!(
        "sluice_jwks_fetches_total",
        "Fetches of the token issuer's keys, by outcome"
    );
    for source in SOURCES {
        counter!("sluice_entry_reads_total", "source" => source).increment(0);
    }
    describe_counter!(
        "sluice_jwks_retries_total",
        "Fetches of the token issuer's keys that were made again"
    );
    counter!("sluice_jwks_retries_total").increment(0);
    for outcome in ["ok", "error"] {
        counter!("sluice_jwks_fetches_total", "outcome" => outcome).increment(0);
    }
    for (name, help) in [
        ("sluice_document_sockets", "WebSockets open"),
        (
            "sluice_streams",
            "WebSockets and event streams open, those of the board too",
        ),
    ] {
        describe_gauge!(name, help);
        gauge!(name).increment(0.0);
    }
}
