//! `sluice mirror`

mod status;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::HumanCount;
use sluice_api::auth::DEFAULT_TENANT;
use sluice_client::Client;
use sluice_mirror::plan::{Act, Plan, Step};
use sluice_mirror::state::{machine_name, usual_path};
use sluice_mirror::{Mirror as Folder, MirrorConfig, MirrorError, Report};

use crate::client::{ClientSettings, refusal};
use crate::failure::{Context, Failure, chain};
use crate::one_line::OneLine;
use crate::output;
use crate::progress::Progress;
use crate::shutdown::Shutdown;

/// As many things, or bytes, under way are worth a bar.
const MANY_ITEMS: u64 = 20;
const MANY_BYTES: u64 = 8 * 1024 * 1024;

/// Keep a folder in step with a share
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  \
    sluice mirror ~/plans --share Plans --create\n  \
    sluice mirror ~/plans --share shr_01jd3v3s2n3wq5s9m1x6r0e8kz --once\n  \
    sluice mirror ~/plans --share Plans --dry-run\n  \
    sluice mirror status ~/plans\n\n\
    .sluiceignore in the folder says what is left out, as .gitignore does. docs/mirror.md says the rest."
)]
pub struct Mirror {
    #[command(subcommand)]
    command: Option<MirrorCommand>,

    /// The folder
    #[arg(value_name = "DIR", required = true)]
    folder: Option<PathBuf>,

    /// The share, by its id or its name
    #[arg(long, value_name = "SHARE", required = true)]
    share: Option<String>,

    /// Make the share if there is none of this name
    #[arg(long)]
    create: bool,

    /// End once all is in step
    #[arg(long)]
    once: bool,

    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Delete on the server what is gone here, however much it is
    #[arg(long)]
    confirm_deletes: bool,

    /// What copies of files that conflict are named after [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,

    /// Where the mirror keeps its state [default: a file for each folder in ~/.local/state/sluice]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// How often the folder is scanned without a hint that it changed, such as 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    scan_every: Duration,

    /// For whom a token is minted with the development secret
    #[arg(long, value_name = "USER", default_value = "usr_demo1", value_parser = crate::settings::user)]
    user: String,

    /// The tenant of that user
    #[arg(long, value_name = "TENANT", default_value = DEFAULT_TENANT, value_parser = crate::settings::tenant)]
    tenant: String,

    /// A group of that user; may be given several times
    #[arg(long = "group", value_name = "GROUP", value_parser = crate::settings::group)]
    groups: Vec<String>,

    #[command(flatten)]
    client: ClientSettings,
}

#[derive(Debug, Subcommand)]
enum MirrorCommand {
    Status(status::Status),
}

impl Mirror {
    pub async fn run(self) -> Result<(), Failure> {
        match (self.command, self.folder, self.share) {
            (Some(MirrorCommand::Status(status)), ..) => status.run(),
            (None, Some(folder), Some(share)) => {
                let client = self.client.file_sync(self.user, self.tenant, self.groups)?;
                let config = MirrorConfig {
                    state: state_path(self.state, &folder)?,
                    share: find_share(&client, &share, self.create && !self.dry_run).await?,
                    device_name: self.device.unwrap_or_else(machine_name),
                    scan_pause: self.scan_every,
                    confirms_deletions: self.confirm_deletes,
                    folder,
                };
                let shutdown = Shutdown::on_signals()?;
                let mode = (self.once, self.dry_run);
                keep(client, config, mode, &shutdown).await.map_err(failure)
            }
            // The arguments are required.
            (None, ..) => Err(Failure::new("a folder and --share are needed")),
        }
    }
}

/// Where the state of a folder's mirror is.
fn state_path(set: Option<PathBuf>, folder: &Path) -> Result<PathBuf, Failure> {
    set.or_else(|| usual_path(folder)).ok_or_else(|| {
        Failure::new("there is no home for the mirror's state").hint("--state says where")
    })
}

async fn find_share(client: &Client, wanted: &str, creates: bool) -> Result<String, Failure> {
    let shares = client.shares().await.map_err(refusal)?;
    let mut found = shares
        .iter()
        .filter(|it| it.id == wanted || it.name == wanted);
    match (found.next(), found.next()) {
        (Some(share), None) => Ok(share.id.clone()),
        (Some(_), Some(_)) => Err(
            Failure::new(format!("several shares are called {wanted:?}"))
                .hint("name one by its id"),
        ),
        (None, _) if creates => {
            let share = client
                .create_share(wanted)
                .await
                .context("cannot make the share")?;
            Ok(share.id)
        }
        (None, _) => {
            Err(Failure::new(format!("there is no share {wanted:?}")).hint("--create makes it"))
        }
    }
}

async fn keep(
    client: Client,
    config: MirrorConfig,
    (once, is_dry): (bool, bool),
    shutdown: &Shutdown,
) -> Result<(), MirrorError> {
    let stop = shutdown.token();
    let work = async {
        let mut folder = Folder::open(client, config, Box::new(observer(once))).await?;
        if is_dry {
            print(&folder.preview().await?, &folder);
            return Ok(());
        }
        if !once {
            return folder.run(stop.cancelled()).await;
        }
        folder.sync().await?;
        for (_, path, why) in problems(&folder) {
            eprintln!("{}", OneLine(&format!("{path}: {why}")));
        }
        Ok(())
    };
    tokio::select! {
        outcome = work => outcome,
        // What was done is kept as it is done; the rest is for the next time.
        () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(5)).await } => Ok(()),
    }
}

/// What is not in step, by path.
fn problems(folder: &Folder) -> Vec<(&str, String, &str)> {
    let trees = folder.trees();
    let path = |id: &str| trees.local().path(id).or_else(|| trees.remote().path(id));
    let nodes = trees.problems().map(|(id, problem)| {
        (
            id.as_str(),
            path(id).unwrap_or_else(|| id.to_owned()),
            problem.text.as_str(),
        )
    });
    let skipped = folder.skipped().iter();
    nodes
        .chain(skipped.map(|(path, why)| ("", path.clone(), why.as_str())))
        .collect()
}

/// Shows what a mirror tells: a bar where much is under way, else a line where something happened.
fn observer(once: bool) -> impl FnMut(Report) + Send {
    let mut progress: Option<Progress> = None;
    let mut last = None;
    move |report| match report {
        Report::Begun { items, bytes } => {
            progress = (items >= MANY_ITEMS || bytes >= MANY_BYTES)
                .then(|| Progress::start("mirror", Some(items)));
        }
        Report::Done { items, bytes } => {
            if let Some(progress) = &mut progress {
                progress.update(items, bytes);
            }
        }
        Report::InStep { nodes, problems } => {
            if let Some(progress) = progress.take() {
                progress.finish();
            }
            if last != Some((nodes, problems)) || once {
                let nodes = HumanCount(nodes as u64);
                let rest = match problems {
                    0 => String::new(),
                    problems => format!(", {} left out", HumanCount(problems as u64)),
                };
                eprintln!("in step: {nodes} files and folders{rest}");
            }
            last = Some((nodes, problems));
        }
        Report::Note(text) => match &progress {
            Some(progress) => progress.note(&text),
            None => eprintln!("{}", OneLine(&text)),
        },
    }
}

/// Prints what would be done, a line each.
fn print(plan: &Plan, folder: &Folder) {
    let trees = folder.trees();
    let path = |id: &str| trees.local().path(id).or_else(|| trees.remote().path(id));
    let path = |id: &str| path(id).unwrap_or_else(|| id.to_owned());
    for step in &plan.steps {
        let line = match step {
            Step::MakeFolder(id) => format!("here   make    {}/", path(id)),
            Step::Fetch(id) => format!("here   fetch   {}", path(id)),
            Step::Move(id, to) => {
                let to = trees
                    .remote()
                    .path_at(to)
                    .unwrap_or_else(|| to.name.clone());
                format!("here   move    {} -> {to}", path(id))
            }
            Step::Remove(id) => format!("here   remove  {}", path(id)),
        };
        output::line(OneLine(&line));
    }
    for intent in &plan.intents {
        let verb = match &intent.act {
            Act::Create(..) => "create",
            Act::Update(..) => "update",
            Act::Move(_) => "move",
            Act::Delete(_) => "delete",
        };
        let to = match (&intent.act, &intent.new_path) {
            (Act::Move(_), Some(to)) => format!(" -> {}", to.trim_start_matches('/')),
            _ => String::new(),
        };
        let from = match (&intent.act, &intent.old_path) {
            (Act::Move(_), Some(from)) => from.trim_start_matches('/').to_owned(),
            _ => path(&intent.id),
        };
        output::line(OneLine(&format!("there  {verb:<7} {from}{to}")));
    }
    for (id, why) in &plan.problems {
        output::line(OneLine(&format!("none   {}: {why}", path(id))));
    }
}

/// Why a mirror has stopped, and what to do about it.
fn failure(error: MirrorError) -> Failure {
    let failure = Failure::new(chain(&error));
    match error {
        MirrorError::Emptied { .. } => {
            failure.hint("mount it; or --confirm-deletes deletes them on the server, too")
        }
        MirrorError::ManyDeletions { .. } | MirrorError::HeldBack => {
            failure.hint("--confirm-deletes deletes them on the server, too")
        }
        MirrorError::Client(error) => refusal(error),
        MirrorError::OtherShare { .. } => {
            failure.hint("--state names another file for another share's state")
        }
        _ => failure,
    }
}
