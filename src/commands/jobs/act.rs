//! `sluice jobs retry`, `run`, `cancel` and `delete`

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use reqwest::Method;
use serde_json::json;
use sluice_api::answers::operators::{Acted, JobCount};

use super::checked;
use super::filter::Filter;
use crate::client::ClientSettings;
use crate::commands::operator;
use crate::failure::Failure;
use crate::output;

/// The jobs of an action: those that are named, or all that the flags mean.
#[derive(Args, Debug)]
pub struct Act {
    /// The jobs' ids
    #[arg(value_name = "ID", conflicts_with_all = ["queue", "state", "user", "error", "text"])]
    ids: Vec<String>,

    #[command(flatten)]
    filter: Filter,

    /// Do not ask before it is done to all that the flags mean
    #[arg(long)]
    yes: bool,

    /// Print the answer as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    client: ClientSettings,
}

impl Act {
    pub async fn run(self, operation: &str) -> Result<(), Failure> {
        let client = operator(&self.client)?;
        let acted: Acted = match self.ids.as_slice() {
            [] if self.filter.is_empty() => {
                return Err(Failure::new("no jobs are named")
                    .hint("give their ids, or flags such as --state dead"));
            }
            [] => {
                let query = self.filter.query().finish();
                let count: JobCount = client.get(&format!("/api/v1/jobs/count?{query}")).await?;
                if !self.yes && !confirmed(operation, &count)? {
                    return Ok(());
                }
                let body = json!({"operation": operation, "filter": self.filter.json()});
                client
                    .act(&Method::POST, "/api/v1/jobs/actions", Some(&body))
                    .await?
            }
            [id] => {
                let path = format!("/api/v1/jobs/{}/{operation}", checked(id)?);
                client.act(&Method::POST, &path, None).await?
            }
            ids => {
                for id in ids {
                    checked(id)?;
                }
                let body = json!({"operation": operation, "ids": ids});
                client
                    .act(&Method::POST, "/api/v1/jobs/actions", Some(&body))
                    .await?
            }
        };
        if self.json {
            return output::json(&acted);
        }
        output::line(format!("{operation}: done to {} jobs", acted.count));
        if acted.key_taken > 0 {
            output::line(format!(
                "{} were left alone because other jobs have their unique keys by now",
                acted.key_taken
            ));
        }
        Ok(())
    }
}

/// Asks, where there is somebody to ask.
fn confirmed(operation: &str, count: &JobCount) -> Result<bool, Failure> {
    let at_least = if count.at_least { "at least " } else { "" };
    let question = format!("{operation} {at_least}{} jobs", count.jobs);
    if !io::stdin().is_terminal() {
        return Err(Failure::new(format!("not confirmed: {question}")).hint("--yes does it"));
    }
    eprint!("{question}? [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
