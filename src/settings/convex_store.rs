//! How the embedded Convex-compatible store behaves.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use sluice_convex::Secret;
use sluice_convex::embedded::{EmbeddedConfig, LimitedKeyError};

use super::help::HEADING;
use super::values::secret;
use crate::failure::{Context, Failure};

/// How the store of `sluice convex` and `sluice dev` behaves.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct ConvexStoreSettings {
    /// Deploy keys that permit only some operations, each as KEY=PERMISSION,PERMISSION and
    /// separated by semicolons
    #[arg(
        long,
        value_name = "KEYS",
        env = "SLUICE_CONVEX_LIMITED_KEYS",
        hide_env_values = true,
        hide_default_value = true,
        value_delimiter = ';',
        value_parser = secret
    )]
    convex_limited_keys: Vec<Secret>,

    /// Whether the streaming export is switched on
    #[arg(
        long,
        value_name = "BOOL",
        env = "SLUICE_CONVEX_EXPORT",
        default_value_t = true,
        action = ArgAction::Set
    )]
    convex_export: bool,
}

impl ConvexStoreSettings {
    /// As the store takes them.
    pub fn config(&self, folder: PathBuf, key: &Secret) -> Result<EmbeddedConfig, Failure> {
        let mut config = EmbeddedConfig::new(folder, key.expose());
        let limited_keys = self.convex_limited_keys.iter();
        config.limited_keys = limited_keys
            .map(|key| key.expose().parse())
            .collect::<Result<_, LimitedKeyError>>()
            .context("SLUICE_CONVEX_LIMITED_KEYS")?;
        config.export = self.convex_export;
        Ok(config)
    }
}
