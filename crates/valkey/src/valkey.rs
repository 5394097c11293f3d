//! The handle to a Valkey: a server, one behind sentinels, or a cluster.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::Histogram;

use crate::call::Way;
use crate::hub::Hub;
use crate::topology::Topology;
use crate::{Address, AddressError, ValkeyConfig};

/// The way of a process to its Valkey. Cheap to clone; all clones share the connections, which are
/// opened as they are needed, and the subscription. Commands find the node that has their key.
#[derive(Clone)]
pub struct Valkey {
    pub(crate) topology: Arc<Topology>,
    pub(crate) way: Way,
    pub(crate) metrics: Metrics,
    pub(crate) times: Arc<Times>,
    hub: Arc<Hub>,
}

/// What the metrics of calls are named.
#[derive(Debug, Clone, Copy)]
pub struct Metrics {
    /// The histogram of how long calls take, attempts and pauses in all.
    pub seconds: &'static str,
    /// The counter of failed attempts.
    pub failures: Option<&'static str>,
    /// The counter of further attempts.
    pub retries: Option<&'static str>,
    /// The label that holds a call's name.
    pub label: &'static str,
}

impl Valkey {
    /// The Valkey at an address. Nothing is sent yet.
    pub fn open(address: Address, config: ValkeyConfig) -> Self {
        let topology = Arc::new(Topology::new(address, config));
        Self {
            hub: Arc::new(Hub::new(topology.clone())),
            topology,
            way: Way::Shared,
            metrics: Metrics::default(),
            times: Arc::default(),
        }
    }

    /// The Valkey at a URL that [`Address::parse`] reads, with the usual settings.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn at(url: &str) -> Result<Self, AddressError> {
        Ok(Self::open(Address::parse(url)?, ValkeyConfig::default()))
    }

    /// The same Valkey over one connection to each node, on which commands arrive in the order in
    /// which they are sent.
    pub fn ordered(&self) -> Self {
        self.by(Way::Ordered)
    }

    /// The same Valkey over a few connections to each node that all tasks share: for many small
    /// commands.
    pub fn shared(&self) -> Self {
        self.by(Way::Shared)
    }

    /// The same Valkey over connections of a pool for each node, of which a command has one for
    /// itself: for large values, which would hold up other commands.
    pub fn pooled(&self) -> Self {
        self.by(Way::Pooled)
    }

    /// The same Valkey, whose calls are counted under these names.
    pub fn measured(&self, metrics: Metrics) -> Self {
        Self {
            metrics,
            times: Arc::default(),
            ..self.clone()
        }
    }

    /// The same Valkey over connections of its own, with a time-out of its own: for a thread that
    /// must not depend on another's runtime.
    pub fn apart(&self, response_timeout: Duration) -> Self {
        let config = ValkeyConfig {
            response_timeout,
            ..self.topology.config().clone()
        };
        let opened = Self::open(self.topology.address().clone(), config);
        Self {
            way: self.way,
            ..opened.measured(self.metrics)
        }
    }

    /// Notifications of this Valkey.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Whether it has shown itself as a cluster.
    pub fn is_cluster(&self) -> bool {
        self.topology.is_cluster()
    }

    fn by(&self, way: Way) -> Self {
        Self {
            way,
            ..self.clone()
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            seconds: "sluice_valkey_call_seconds",
            failures: Some("sluice_valkey_call_errors_total"),
            retries: Some("sluice_valkey_call_retries_total"),
            label: "call",
        }
    }
}

impl Metrics {
    /// Lets the counters of a call begin at 0, so that the first failure is an increase.
    pub fn announce(&self, name: &'static str) {
        for counter in [self.failures, self.retries].into_iter().flatten() {
            metrics::counter!(counter, self.label => name).increment(0);
        }
    }

    pub(crate) fn count_failure(&self, name: &'static str) {
        self.count(self.failures, name);
    }

    pub(crate) fn count_retry(&self, name: &'static str) {
        self.count(self.retries, name);
    }

    fn count(&self, counter: Option<&'static str>, name: &'static str) {
        if let Some(counter) = counter {
            metrics::counter!(counter, self.label => name).increment(1);
        }
    }
}

/// The histograms of calls by name, found again without their labels being made for each call.
#[derive(Default)]
pub(crate) struct Times(RwLock<HashMap<&'static str, Histogram>>);

impl Times {
    pub fn record(&self, metrics: &Metrics, name: &'static str, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(histogram) = known.get(name) {
                return histogram.record(seconds);
            }
        }
        let histogram = metrics::histogram!(metrics.seconds, metrics.label => name);
        histogram.record(seconds);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(name, histogram);
    }
}
