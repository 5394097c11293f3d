//! The Valkey of a `sluice dev`: a server, or a cluster of them.

use std::path::Path;

use futures_util::future::{join_all, select_all};

use super::child::Software;
use super::cluster;
use super::valkey::PrivateValkey;
use crate::failure::Failure;

/// Servers that belong to this process.
pub struct PrivateServers {
    url: String,
    servers: Vec<PrivateValkey>,
}

impl PrivateServers {
    /// Starts one server with its files in `folder`.
    pub async fn one(software: &Software, folder: &Path) -> Result<Self, Failure> {
        let server = PrivateValkey::start(software, folder).await?;
        Ok(Self {
            url: server.url().to_owned(),
            servers: vec![server],
        })
    }

    /// Starts a cluster of three primaries and three replicas, with their files in folders below
    /// `folder`, and waits until it is whole.
    pub async fn cluster(software: &Software, folder: &Path) -> Result<Self, Failure> {
        let (url, servers) = cluster::start(software, folder).await?;
        Ok(Self { url, servers })
    }

    /// `redis://…` with the password, and of a cluster with some of its nodes.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns when one of them cannot be kept running any more.
    pub async fn given_up(&mut self) -> Failure {
        let waits = self.servers.iter_mut();
        let waits = waits.map(|server| Box::pin(server.given_up()));
        select_all(waits).await.0
    }

    /// Ends all of them; what they acknowledged is on disk.
    pub async fn stop(self) {
        join_all(self.servers.into_iter().map(PrivateValkey::stop)).await;
    }
}
