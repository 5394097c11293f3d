//! What operators watch of the way to Valkey: every metric with its help.

use metrics::{Unit, counter, describe_counter, describe_histogram};

use crate::Metrics;

/// Describes this crate's metrics and begins its counters at 0. Call it once a recorder is
/// installed.
pub fn describe_metrics() {
    let Metrics {
        seconds,
        failures,
        retries,
        ..
    } = Metrics::default();
    describe_histogram!(
        seconds,
        Unit::Seconds,
        "Time that a call took, with what was repeated, by name"
    );
    for (name, help) in [
        (failures, "Attempts of calls that failed, by name"),
        (retries, "Calls that were sent again, by name"),
    ] {
        if let Some(name) = name {
            describe_counter!(name, help);
        }
    }
    describe_counter!(
        "sluice_valkey_subscription_lost_total",
        "Times the subscription to notifications of a node was lost"
    );
    counter!("sluice_valkey_subscription_lost_total").increment(0);
}
