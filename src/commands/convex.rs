//! `sluice convex`

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tracing::info;

use crate::app::serve_convex_store;
use crate::data_folder::DataFolder;
use crate::failure::Failure;
use crate::http::Server;
use crate::settings::{ConvexKeySettings, ConvexStoreSettings, DataSettings, HttpSettings, listen};
use crate::shutdown::Shutdown;

/// How long requests under way may take once the end is asked for.
const GRACE: Duration = Duration::from_secs(8);

/// The embedded Convex-compatible store alone
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  SLUICE_CONVEX_KEY=… sluice convex --convex-listen 127.0.0.1:3210 --data /var/lib/sluice\n\n\
    Without a key, one is made up and kept in the data folder (convex-key)."
)]
pub struct Convex {
    /// The address it listens on
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SLUICE_CONVEX_LISTEN",
        default_value = "127.0.0.1:3210",
        value_parser = listen,
        help_heading = "Settings",
        visible_alias = "listen"
    )]
    convex_listen: SocketAddr,

    #[command(flatten)]
    key: ConvexKeySettings,

    #[command(flatten)]
    store: ConvexStoreSettings,

    #[command(flatten)]
    http: HttpSettings,

    #[command(flatten)]
    data: DataSettings,
}

impl Convex {
    pub async fn run(self) -> Result<(), Failure> {
        let shutdown = Shutdown::on_signals()?;
        let folder = DataFolder::create(&self.data.data)?;
        let _lock = folder.lock()?;
        let listener = Server::bind(self.convex_listen).await?;
        let key = match self.key.convex_key {
            Some(key) => key,
            None => folder.convex_key()?,
        };
        let server = serve_convex_store(listener, &self.store, &self.http, &folder, &key)?;
        info!(url = server.url(), "Convex listens");
        shutdown.requested().await;
        server.stop(GRACE).await;
        Ok(())
    }
}
