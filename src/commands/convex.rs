//! `sluice convex`

use std::net::SocketAddr;
use std::time::Duration;

use clap::{ArgAction, Args};
use sluice_convex::Secret;
use sluice_convex::embedded::{Embedded, EmbeddedConfig, LimitedKeyError};
use tracing::info;

use crate::data_folder::DataFolder;
use crate::failure::{Context, Failure};
use crate::http::Server;
use crate::settings::{ConvexKeySettings, DataSettings, HttpSettings, secret};
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
        help_heading = "Settings",
        visible_alias = "listen"
    )]
    convex_listen: SocketAddr,

    #[command(flatten)]
    key: ConvexKeySettings,

    /// Deploy keys that permit only some operations, each as KEY=PERMISSION,PERMISSION and separated by semicolons
    #[arg(
        long,
        value_name = "KEYS",
        env = "SLUICE_CONVEX_LIMITED_KEYS",
        hide_env_values = true,
        hide_default_value = true,
        value_delimiter = ';',
        value_parser = secret,
        help_heading = "Settings"
    )]
    convex_limited_keys: Vec<Secret>,

    /// Whether the streaming export is switched on
    #[arg(
        long,
        value_name = "BOOL",
        env = "SLUICE_CONVEX_EXPORT",
        default_value_t = true,
        action = ArgAction::Set,
        help_heading = "Settings"
    )]
    convex_export: bool,

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
        let mut config = EmbeddedConfig::new(folder.convex(), key.expose());
        let limited_keys = self.convex_limited_keys.iter();
        config.limited_keys = limited_keys
            .map(|key| key.expose().parse())
            .collect::<Result<_, LimitedKeyError>>()
            .context("SLUICE_CONVEX_LIMITED_KEYS")?;
        config.export = self.convex_export;
        let store = Embedded::open(config).context("cannot open the embedded Convex")?;
        let server = Server::start(listener, store.router(), self.http.limits())?;
        info!(url = server.url(), "Convex listens");
        shutdown.requested().await;
        server.stop(GRACE).await;
        Ok(())
    }
}
