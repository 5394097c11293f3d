//! The composition root: every part of a process is built here, from its settings.
//!
//! `dev`, `serve`, `work` and `doctor` build the same parts by the same lines; the commands choose
//! among them, start them in their order and end them.

mod api;
mod convex_store;
mod valkey;
mod workers;

use std::sync::Arc;

use sluice_convex::{Files, History};
use sluice_objects::Objects;
use sluice_queue::{QueueConfig, Queues};
use sluice_store::cache::Cache;

use crate::failure::{Context, Failure};
use crate::settings::{BackendSettings, DocumentSettings};

pub use api::Api;
pub use convex_store::serve_convex_store;
pub use valkey::open_valkey;

/// What the API and the workers stand on. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub queues: Queues,
    cache: Cache,
    files: Arc<dyn Files>,
    history: History,
    objects: Option<Objects>,
}

impl App {
    /// Connects to Valkey; Convex is asked when it is first needed.
    pub async fn connect(
        backends: &BackendSettings,
        documents: &DocumentSettings,
    ) -> Result<Self, Failure> {
        let address = backends.valkey.address()?;
        let convex = backends.convex.client()?;
        let valkey = open_valkey(address, backends.pool.valkey_pool);
        let config = QueueConfig {
            payload_limit: documents.payload_limit(),
            backlog_limit: backends.queues.backlog_limit,
            ..QueueConfig::default()
        };
        let queues = Queues::open(&valkey, config)
            .await
            .context("cannot reach Valkey")
            .map_err(|failure| failure.hint("`sluice doctor` checks every connection"))?;
        let gauges = queues.clone();
        tokio::spawn(async move { gauges.keep_gauges().await });
        Ok(Self {
            queues,
            cache: Cache::new(&valkey, backends.cache.config())
                .context("cannot use the cache's settings")?,
            history: History::new(convex.clone()),
            objects: backends.objects.open()?,
            files: sluice_convex::files(convex, backends.files.via()),
        })
    }
}
