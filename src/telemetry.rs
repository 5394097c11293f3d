//! Logs on standard error, metrics for Prometheus.

use std::io::{self, IsTerminal};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};

use crate::failure::{Context, Failure};
use crate::http;
use crate::one_line::OneLine;
use crate::settings::{LogFormat, LogSettings};

/// Upper bounds of what takes time, in seconds: from a script's call to a sync of a full set.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// Upper bounds of what has a size, in bytes: from an entry to a full set.
const BYTES: &[f64] = &[1e3, 1e4, 1e5, 5e5, 1e6, 5e6, 1e7, 5e7, 1e8, 2e8, 3e8, 4.5e8];

/// Upper bounds of what is done together.
const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3];

/// How often histograms are tidied up, so that they stay small between two scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Sends log lines to standard error. `RUST_LOG` decides when the setting does not, then
/// `default_filter`.
pub fn start_logging(settings: &LogSettings, default_filter: &str) -> Result<(), Failure> {
    let filter = settings
        .log
        .clone()
        .or_else(|| std::env::var(EnvFilter::DEFAULT_ENV).ok())
        .filter(|filter| !filter.trim().is_empty())
        .unwrap_or_else(|| default_filter.to_owned());
    let filter = EnvFilter::try_new(filter)
        .context("log: not a valid filter (set by SLUICE_LOG, --log, RUST_LOG or sluice.toml)")?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match settings.log_format {
        LogFormat::Text => lines.fmt_fields(OneLineFields::default()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Writes the fields of events and spans as the default does, each text on one line.
#[derive(Default)]
struct OneLineFields(DefaultFields);

impl<'writer> FormatFields<'writer> for OneLineFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> std::fmt::Result {
        let mut text = String::new();
        self.0.format_fields(Writer::new(&mut text), fields)?;
        write!(writer, "{}", OneLine(&text))
    }
}

/// Starts to collect metrics; once per process. The handle prints them for `/metrics`.
pub fn start_metrics() -> Result<PrometheusHandle, Failure> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES)
        })
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_transactions".to_owned()), COUNTS)
        })
        .context("cannot set the metrics' buckets")?
        .install_recorder()
        .context("cannot start to collect metrics")?;
    describe_metrics();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// Every part says what its metrics are, and begins them at 0.
fn describe_metrics() {
    sluice_valkey::describe_metrics();
    sluice_queue::describe_metrics(&sluice_jobs::QUEUES);
    sluice_store::describe_metrics();
    sluice_objects::describe_metrics();
    sluice_convex::describe_metrics();
    sluice_jobs::describe_metrics();
    sluice_api::describe_metrics();
    http::describe_metrics();
}
