//! `sluice queues`

use clap::{Args, Subcommand};
use reqwest::Method;
use sluice_api::answers::operators::{Acted, QueueNumbers};

use crate::client::ClientSettings;
use crate::commands::operator;
use crate::failure::Failure;
use crate::{output, table};

/// List queues; pause them, or let them go on
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  sluice queues\n  sluice queues pause sync"
)]
pub struct Queues {
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
    /// Give out no more jobs of a queue; those that run go on
    Pause(Named),
    /// Give out jobs again
    Resume(Named),
}

#[derive(Args, Debug)]
struct Named {
    /// The queue
    #[arg(value_name = "QUEUE")]
    queue: String,

    #[command(flatten)]
    client: ClientSettings,
}

impl Queues {
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            Some(Command::Pause(named)) => return named.run("pause").await,
            Some(Command::Resume(named)) => return named.run("resume").await,
            None => {}
        }
        let queues: Vec<QueueNumbers> = operator(&self.client)?.get("/api/v1/queues").await?;
        if self.json {
            return output::json(&queues);
        }
        let rows: Vec<Vec<String>> = queues
            .iter()
            .map(|queue| {
                vec![
                    queue.name.clone(),
                    (queue.waiting + queue.scheduled + queue.available).to_string(),
                    queue.running.to_string(),
                    queue.retrying.to_string(),
                    queue.dead.to_string(),
                    queue.workers.to_string(),
                    queue
                        .oldest_waiting_ms
                        .map_or_else(|| "-".to_owned(), table::span),
                    queue
                        .paused_at
                        .map_or_else(String::new, |at| format!("paused for {}", table::ago(at))),
                ]
            })
            .collect();
        let heads = [
            "QUEUE",
            ">WAITING",
            ">RUNNING",
            ">RETRYING",
            ">DEAD",
            ">WORKERS",
            "OLDEST WAITS",
            "",
        ];
        table::print(&heads, &rows);
        Ok(())
    }
}

impl Named {
    async fn run(self, what: &str) -> Result<(), Failure> {
        let path = format!("/api/v1/queues/{}/{what}", self.queue);
        let _: Acted = operator(&self.client)?
            .act(&Method::POST, &path, None)
            .await?;
        output::line(format!("{what}: {}", self.queue));
        Ok(())
    }
}
