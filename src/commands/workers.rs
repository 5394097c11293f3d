//! `sluice workers`

use clap::{Args, Subcommand};
use reqwest::Method;
use sluice_api::answers::operators::{Acted, Worker};

use crate::client::ClientSettings;
use crate::commands::operator;
use crate::failure::Failure;
use crate::{output, table};

/// List the processes that run jobs; have them be quiet, go on, or end
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  sluice workers\n  sluice workers quiet web-1-4242-0a1b2c3d"
)]
pub struct Workers {
    #[command(subcommand)]
    command: Option<Command>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    client: ClientSettings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch no more jobs; running ones go on
    Quiet(Named),
    /// Fetch jobs again
    Resume(Named),
    /// End in good order, as on SIGTERM
    Stop(Named),
}

#[derive(Args, Debug)]
struct Named {
    /// The worker's id
    #[arg(value_name = "WORKER")]
    worker: String,

    #[command(flatten)]
    client: ClientSettings,
}

impl Workers {
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            Some(Command::Quiet(named)) => return named.run("quiet").await,
            Some(Command::Resume(named)) => return named.run("resume").await,
            Some(Command::Stop(named)) => return named.run("stop").await,
            None => {}
        }
        let workers: Vec<Worker> = operator(&self.client)?.get("/api/v1/workers").await?;
        if self.json {
            return output::json(&workers);
        }
        let rows: Vec<Vec<String>> = workers
            .iter()
            .map(|worker| {
                let state = match (worker.signal.as_deref(), worker.quiet) {
                    (Some("stop"), _) => "ending",
                    (_, true) => "quiet",
                    _ => "works",
                };
                vec![
                    worker.id.clone(),
                    worker.host.clone(),
                    worker.pid.to_string(),
                    state.to_owned(),
                    worker.running.to_string(),
                    table::ago(worker.started_at),
                    table::ago(worker.seen_at),
                    worker.version.clone(),
                ]
            })
            .collect();
        let heads = [
            "WORKER", "HOST", ">PID", "STATE", ">RUNNING", "UP", "SEEN", "VERSION",
        ];
        table::print(&heads, &rows);
        Ok(())
    }
}

impl Named {
    async fn run(self, signal: &str) -> Result<(), Failure> {
        let path = format!("/api/v1/workers/{}/{signal}", self.worker);
        let _: Acted = operator(&self.client)?
            .act(&Method::POST, &path, None)
            .await?;
        output::line(format!(
            "{signal}: {} hears of it within two seconds",
            self.worker
        ));
        Ok(())
    }
}
