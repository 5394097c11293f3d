//! `sluice jobs`

mod act;
mod filter;

use clap::{Args, Subcommand};
use sluice_api::answers::Job;
use sluice_api::answers::operators::JobPage;
use sluice_queue::JobId;

use crate::client::ClientSettings;
use crate::commands::operator;
use crate::failure::{Context, Failure};
use crate::{output, table};
use act::Act;
use filter::Filter;

/// Search jobs, look at one, and retry, run, cancel, delete or watch jobs
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
    sluice jobs list --state dead --error timeout\n  \
    sluice jobs show sync_01jd3v3s2n3wq5s9m1x6r0e8kz\n  \
    sluice jobs retry --queue sync --state dead\n  \
    sluice jobs watch sync_01jd3v3s2n3wq5s9m1x6r0e8kz"
)]
pub struct Jobs {
    /// A job's id: the same as `show`, as JSON
    #[arg(value_name = "ID")]
    id: Option<String>,

    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    client: ClientSettings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Search jobs
    List(List),
    /// Show a job: state, progress, attempts, errors
    Show(Show),
    /// Put dead, cancelled and refused jobs back in line
    Retry(Act),
    /// Have scheduled and retrying jobs run at once
    Run(Act),
    /// Cancel jobs that wait, and ask those that run to stop
    Cancel(Act),
    /// Remove jobs that do not run
    Delete(Act),
    /// Show a job's progress until it has ended
    Watch(Watch),
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    filter: Filter,

    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,

    /// Print JSON, a job a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    client: ClientSettings,
}

#[derive(Args, Debug)]
struct Show {
    /// The job's id
    #[arg(value_name = "ID")]
    id: String,

    /// Print all of it as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    client: ClientSettings,
}

#[derive(Args, Debug)]
struct Watch {
    /// The job's id
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    client: ClientSettings,
}

impl Jobs {
    pub async fn run(self) -> Result<(), Failure> {
        match (self.command, self.id) {
            (Some(Command::List(list)), _) => list.run().await,
            (Some(Command::Show(show)), _) => show.run().await,
            (Some(Command::Retry(act)), _) => act.run("retry").await,
            (Some(Command::Run(act)), _) => act.run("run").await,
            (Some(Command::Cancel(act)), _) => act.run("cancel").await,
            (Some(Command::Delete(act)), _) => act.run("delete").await,
            (Some(Command::Watch(watch)), _) => watch.run().await,
            (None, id) => {
                let id = id.unwrap_or_default();
                let client = self.client;
                Show {
                    id,
                    json: true,
                    client,
                }
                .run()
                .await
            }
        }
    }
}

/// The id of a job, as it was typed.
fn checked(id: &str) -> Result<&str, Failure> {
    match JobId::parse(id) {
        Ok(_) => Ok(id),
        Err(_) => Err(Failure::new(format!(
            "{id:?} is not a job's id such as sync_01jd3v3s2n3wq5s9m1x6r0e8kz"
        ))
        .hint("`sluice jobs list` lists jobs")),
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let client = operator(&self.client)?;
        let mut left = self.limit;
        let mut cursor: Option<String> = None;
        let mut rows = Vec::new();
        while left > 0 {
            let mut query = self.filter.query();
            query.append_pair("limit", &left.min(500).to_string());
            if let Some(cursor) = &cursor {
                query.append_pair("cursor", cursor);
            }
            let page: JobPage = client
                .get(&format!("/api/v1/jobs?{}", query.finish()))
                .await?;
            left = left.saturating_sub(page.jobs.len());
            for job in page.jobs {
                if self.json {
                    output::json(&job)?;
                    continue;
                }
                rows.push(vec![
                    job.id,
                    job.state,
                    table::text(job.user.as_deref()),
                    match job.max_attempts {
                        Some(most) => format!("{}/{most}", job.attempts),
                        None => job.attempts.to_string(),
                    },
                    table::moment(job.finished_at.or(job.started_at).unwrap_or(job.run_at)),
                    table::text(job.last_error.as_deref()),
                ]);
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        if !self.json {
            table::print(
                &[
                    "JOB",
                    "STATE",
                    "USER",
                    ">ATTEMPTS",
                    "SINCE OR DUE",
                    "LAST ERROR",
                ],
                &rows,
            );
            if cursor.is_some() {
                eprintln!("there are more; --limit says how many are shown");
            }
        }
        Ok(())
    }
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let id = checked(&self.id)?;
        let job = operator(&self.client)?.job(id).await?;
        if self.json {
            output::line(job);
            return Ok(());
        }
        let job: Job = serde_json::from_str(job.get()).context("cannot understand the job")?;
        let mut facts = vec![
            ("job", job.id),
            ("state", job.state),
            ("user", table::text(job.user.as_deref())),
            (
                "attempts",
                match job.max_attempts {
                    Some(most) => format!("{} of {most}", job.attempts),
                    None => job.attempts.to_string(),
                },
            ),
            ("enqueued", table::moment(job.created_at)),
            ("begun", table::optional_moment(job.started_at)),
            ("ended", table::optional_moment(job.finished_at)),
            ("worker", table::text(job.worker.as_deref())),
            ("payload", job.payload.to_string()),
        ];
        let more = [
            ("progress", job.progress),
            ("result", job.result),
            ("refused", job.error),
        ];
        facts.extend(
            more.into_iter()
                .filter_map(|(name, it)| Some((name, it?.to_string()))),
        );
        table::facts(&facts);
        for error in &job.errors {
            output::line(format!(
                "attempt {} failed at {}: {}",
                error.attempt,
                table::moment(error.at),
                crate::one_line::OneLine(&error.message)
            ));
        }
        Ok(())
    }
}

impl Watch {
    async fn run(self) -> Result<(), Failure> {
        let id = checked(&self.id)?;
        let answer = operator(&self.client)?.watch(id).await?;
        output::json(&answer)
    }
}
