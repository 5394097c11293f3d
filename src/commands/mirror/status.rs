//! `sluice mirror status`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use sluice_mirror::state::{About, State};
use sluice_mirror::{MirrorError, Trees};

use super::state_path;
use crate::failure::{Context, Failure};
use crate::one_line::OneLine;
use crate::output;

/// Show how a folder's mirror is doing
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sluice mirror status ~/plans")]
pub struct Status {
    /// The folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Where the mirror keeps its state [default: as of `sluice mirror`]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub fn run(self) -> Result<(), Failure> {
        let path = state_path(self.state, &self.folder)?;
        let none = || Failure::new(format!("{} is no mirror yet", self.folder.display()));
        let (about, trees) = read(&path)
            .context("cannot read the mirror's state")?
            .ok_or_else(none)?;
        let is_running = State::is_kept(&path);
        let left_out = left_out(&about, &trees);
        if self.json {
            return output::json(&json!({
                "folder": about.folder,
                "api": about.api,
                "share": about.share,
                "share_name": about.share_name,
                "device": about.device,
                "running": is_running,
                "cursor": trees.cursor,
                "nodes": trees.synced().len(),
                "pending": trees.unsettled(),
                "in_step_at": about.in_step_at,
                "last_error": about.last_error,
                "left_out": left_out.iter().map(|(path, why)| json!({"path": path, "reason": why}))
                    .collect::<Vec<_>>(),
            }));
        }
        let running = if is_running { "running" } else { "not running" };
        output::line(format!("folder    {} ({running})", about.folder));
        output::line(format!(
            "share     {} {} at {}",
            about.share, about.share_name, about.api
        ));
        output::line(format!("device    {}", about.device));
        let nodes = trees.synced().len();
        output::line(format!(
            "in step   {nodes} files and folders, {} are not",
            trees.unsettled()
        ));
        output::line(format!(
            "last      {}",
            about.in_step_at.as_deref().unwrap_or("never")
        ));
        if let Some(error) = &about.last_error {
            output::line(format!("error     {}", OneLine(error)));
        }
        for (path, why) in left_out {
            output::line(OneLine(&format!("left out  {path}: {why}")));
        }
        Ok(())
    }
}

fn read(path: &std::path::Path) -> Result<Option<(About, Trees)>, MirrorError> {
    let Some(state) = State::look(path)? else {
        return Ok(None);
    };
    let about = state.about()?;
    let with_trees = |about| state.trees().map(|trees| (about, trees));
    about.map(with_trees).transpose()
}

/// What is not in step for a reason, by path.
fn left_out(about: &About, trees: &Trees) -> Vec<(String, String)> {
    let path = |id: &str| trees.local().path(id).or_else(|| trees.remote().path(id));
    let nodes = trees
        .problems()
        .map(|(id, problem)| (path(id).unwrap_or_else(|| id.clone()), problem.text.clone()));
    nodes.chain(about.skipped.iter().cloned()).collect()
}
