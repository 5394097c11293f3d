//! `sluice schedules`

use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_api::answers::Accepted;
use sluice_api::answers::operators::Acted;

use crate::client::ClientSettings;
use crate::commands::operator;
use crate::failure::{Context, Failure};
use crate::{output, table};

/// List schedules; add, run, pause or delete them
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  sluice schedules\n  sluice schedules run purge\n  \
    sluice schedules set nightly --cron \"0 30 2 * * *\" --zone Europe/Berlin --queue sync \\\n    \
    --payload '{\"user\":\"ann\",\"type\":\"allOne\"}'"
)]
pub struct Schedules {
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
    /// Run a schedule's job now
    Run(Named),
    /// Leave a schedule's ticks out
    Pause(Named),
    /// Let a schedule go on
    Resume(Named),
    /// Take a schedule away
    Delete(Named),
    /// Add a schedule, or change one
    Set(Set),
}

#[derive(Args, Debug)]
struct Named {
    /// The schedule
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    client: ClientSettings,
}

#[derive(Args, Debug)]
struct Set {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,

    /// When it ticks: a cron expression with seconds
    #[arg(long, value_name = "CRON")]
    cron: String,

    /// The time zone of that
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,

    /// The queue of its job
    #[arg(long, value_name = "QUEUE")]
    queue: String,

    /// Its job, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    payload: String,

    /// For up to so many seconds after a tick the job waits
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    jitter_secs: u32,

    /// What comes of ticks at which no worker ran: once or skip
    #[arg(long, value_name = "POLICY", default_value = "once", value_parser = ["once", "skip"])]
    missed: String,

    #[command(flatten)]
    client: ClientSettings,
}

/// What of a schedule is shown.
#[derive(Deserialize)]
struct Row {
    name: String,
    cron: String,
    zone: String,
    queue: String,
    origin: String,
    next: Option<u64>,
    last: Option<u64>,
    left_out: Option<String>,
    paused_at: Option<u64>,
}

impl Schedules {
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            Some(Command::Run(named)) => return named.start().await,
            Some(Command::Pause(named)) => return named.run(&Method::POST, "/pause").await,
            Some(Command::Resume(named)) => return named.run(&Method::POST, "/resume").await,
            Some(Command::Delete(named)) => return named.run(&Method::DELETE, "").await,
            Some(Command::Set(set)) => return set.run().await,
            None => {}
        }
        let schedules: Vec<Value> = operator(&self.client)?.get("/api/v1/schedules").await?;
        if self.json {
            return output::json(&schedules);
        }
        let mut rows = Vec::new();
        for schedule in schedules {
            let row: Row =
                serde_json::from_value(schedule).context("cannot understand a schedule")?;
            let note = match (row.paused_at, row.left_out) {
                (Some(_), _) => "paused".to_owned(),
                (None, Some(reason)) => format!("last one left out: {reason}"),
                (None, None) => String::new(),
            };
            rows.push(vec![
                row.name,
                row.cron,
                row.zone,
                row.queue,
                row.origin,
                table::optional_moment(row.last),
                table::optional_moment(row.next),
                note,
            ]);
        }
        table::print(
            &[
                "SCHEDULE", "CRON", "ZONE", "QUEUE", "FROM", "LAST", "NEXT", "",
            ],
            &rows,
        );
        Ok(())
    }
}

impl Named {
    async fn run(self, method: &Method, what: &str) -> Result<(), Failure> {
        let path = format!("/api/v1/schedules/{}{what}", self.name);
        let _: Acted = operator(&self.client)?.act(method, &path, None).await?;
        output::line("done");
        Ok(())
    }

    async fn start(self) -> Result<(), Failure> {
        let path = format!("/api/v1/schedules/{}/run", self.name);
        let run: Accepted = operator(&self.client)?
            .act(&Method::POST, &path, None)
            .await?;
        output::line(run.job);
        Ok(())
    }
}

impl Set {
    async fn run(self) -> Result<(), Failure> {
        let payload: Value =
            serde_json::from_str(&self.payload).context("the payload is not JSON")?;
        let schedule = json!({
            "cron": self.cron, "zone": self.zone, "queue": self.queue, "payload": payload,
            "jitter_secs": self.jitter_secs, "missed": self.missed,
        });
        let path = format!("/api/v1/schedules/{}", self.name);
        let _: Acted = operator(&self.client)?
            .act(&Method::PUT, &path, Some(&schedule))
            .await?;
        output::line("done");
        Ok(())
    }
}
