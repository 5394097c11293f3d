//! `sluice import`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::data_folder::DataFolder;
use crate::failure::{Context, Failure};
use crate::import::{files_below, import};
use crate::output;
use crate::progress::Progress;
use crate::settings::{ConvexSettings, DataSettings};

/// Put the metadata of the files below a folder into Convex
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sluice import ~/Pictures --user usr_1\n\n\
    Only metadata is read: names, sizes and times. Importing a folder again replaces what it imported before. What\n\
    cannot be read is passed over, counted as `unreadable` and told on standard error. Without\n\
    SLUICE_CONVEX_URL and SLUICE_CONVEX_KEY it goes to the `sluice dev` in the data folder.")]
pub struct Import {
    /// The folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Whose files they become
    #[arg(long, value_name = "USER", value_parser = crate::settings::user)]
    user: String,

    #[command(flatten)]
    convex: ConvexSettings,

    #[command(flatten)]
    data: DataSettings,
}

impl Import {
    pub async fn run(self) -> Result<(), Failure> {
        // The ids depend on the path: they are to be the same from wherever the command is run.
        let folder = self
            .folder
            .canonicalize()
            .context(format!("cannot read {}", self.folder.display()))?;
        if !folder.is_dir() {
            return Err(Failure::new(format!(
                "{} is not a folder",
                folder.display()
            )));
        }
        let running = DataFolder::at(&self.data.data).addresses();
        let client = self.convex.or(running.as_ref()).client()?;

        let counted = folder.clone();
        let total = tokio::task::spawn_blocking(move || files_below(&counted).flatten().count())
            .await
            .context("cannot count the files")?;
        let mut progress = Progress::start(format!("import {}", self.user), Some(total as u64));
        let imported = import(&client, &self.user, files_below(&folder), |so_far| {
            progress.update(so_far.files, so_far.bytes);
        })
        .await;
        progress.finish();
        let (imported, unreadable) = imported?;
        if let Some(first) = unreadable.first {
            eprintln!(
                "warning: {} files or folders could not be read, the first: {first}",
                unreadable.count
            );
        }
        output::line(format_args!(
            "{}",
            json!({
                "user": self.user,
                "imported": imported.files,
                "unreadable": unreadable.count,
            })
        ));
        Ok(())
    }
}
