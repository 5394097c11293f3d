//! The Convex-compatible store of a process.

use sluice_convex::Secret;
use sluice_convex::embedded::Embedded;
use tokio::net::TcpListener;

use crate::data_folder::DataFolder;
use crate::failure::{Context, Failure};
use crate::http::Server;
use crate::settings::{ConvexStoreSettings, HttpSettings};

/// Serves the store that keeps its data in `folder` and is opened by `key`.
pub fn serve_convex_store(
    listener: TcpListener,
    store: &ConvexStoreSettings,
    http: &HttpSettings,
    folder: &DataFolder,
    key: &Secret,
) -> Result<Server, Failure> {
    let config = store.config(folder.convex(), key)?;
    let store = Embedded::open(config).context("cannot open the embedded Convex")?;
    Server::start(listener, store.router(), http.limits())
}
