//! The loop of a mirror: read the log, scan the folder, plan, do, until there is nothing to do; then
//! wait for a nudge, a hint, or the time of the next scan.

mod receive;
mod run;
mod send;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sluice_client::Client;
use sluice_client::types::{Level, NewDevice};
use tokio::task::block_in_place;

use crate::error::MirrorError;
use crate::folder::Folder;
use crate::outcome::rfc3339;
use crate::plan::{Plan, Terms};
use crate::scan::Reading;
use crate::state::{About, Outbox, State};
use crate::{Trees, plan};

/// Fewer deletions than this are never asked about.
const FEW_DELETIONS: u64 = 50;
/// What is missing is looked for once more after this time: it may be moving.
const SECOND_LOOK: Duration = Duration::from_millis(150);
/// How often the state is kept while much is done.
const SAVE_PAUSE: Duration = Duration::from_secs(1);
/// Most threads that read contents.
const READERS: usize = 4;

/// What a mirror keeps in step, and how.
#[derive(Clone, Debug)]
pub struct MirrorConfig {
    /// The folder.
    pub folder: PathBuf,
    /// Where the mirror's state is.
    pub state: PathBuf,
    /// The share, by id.
    pub share: String,
    /// What the user calls this device; copies of files are named after it.
    pub device_name: String,
    /// How often the folder is scanned without a hint.
    pub scan_pause: Duration,
    /// Whether deletions are sent however many they are.
    pub confirms_deletions: bool,
}

/// What a mirror tells of its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// So many things are to be done, with so many bytes.
    Begun {
        /// Steps here, and changes that are sent.
        items: u64,
        /// Of contents.
        bytes: u64,
    },
    /// So many of them are done.
    Done {
        /// Steps and changes.
        items: u64,
        /// Of contents.
        bytes: u64,
    },
    /// All is in step.
    InStep {
        /// Files and folders.
        nodes: usize,
        /// What is left out or went wrong.
        problems: usize,
    },
    /// Something worth a line.
    Note(String),
}

/// Hears what a mirror tells.
pub type Observer = Box<dyn FnMut(Report) + Send>;

/// A folder that is kept in step with a share.
pub struct Mirror {
    client: Client,
    config: MirrorConfig,
    folder: Folder,
    state: State,
    trees: Trees,
    outbox: Option<Outbox>,
    about: About,
    is_read_only: bool,
    observer: Observer,
    done: (u64, u64),
    saved_at: Instant,
}

impl Mirror {
    /// Opens a mirror and registers its device.
    ///
    /// # Errors
    /// [`MirrorError::Busy`], [`MirrorError::OtherShare`], [`MirrorError::Folder`],
    /// [`MirrorError::Client`] when the share cannot be seen.
    pub async fn open(
        client: Client,
        config: MirrorConfig,
        observer: Observer,
    ) -> Result<Self, MirrorError> {
        let cannot = |source| MirrorError::Folder {
            path: config.folder.clone(),
            source,
        };
        let folder = Folder::open(&config.folder).map_err(cannot)?;
        let state = State::open(&config.state)?;
        let mut about = state.about()?.unwrap_or_default();
        if !about.share.is_empty() && about.share != config.share {
            return Err(MirrorError::OtherShare {
                path: folder.root().to_owned(),
                share: about.share,
            });
        }
        let mut trees = state.trees()?;
        trees.retry_problems();
        let outbox = state.outbox()?;
        if about.device.is_empty() {
            about.device = trees.new_id("mir");
        }
        let share = client.share(&config.share).await?;
        about.folder = folder.root().display().to_string();
        about.api = client.api().to_string();
        about.share.clone_from(&share.id);
        about.share_name.clone_from(&share.name);
        state.set_about(&about)?;
        folder.tidy();
        let mut mirror = Self {
            client,
            config,
            folder,
            state,
            trees,
            outbox,
            about,
            is_read_only: share.level < Level::Write,
            observer,
            done: (0, 0),
            saved_at: Instant::now(),
        };
        mirror.register().await?;
        Ok(mirror)
    }

    async fn register(&mut self) -> Result<(), MirrorError> {
        let device = NewDevice {
            device_id: self.about.device.clone(),
            device_name: self.config.device_name.clone(),
            platform: "cli".to_owned(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.client.register(&device).await?;
        Ok(())
    }

    /// What is here, on the server, and in step.
    pub fn trees(&self) -> &Trees {
        &self.trees
    }

    /// What of the folder is left out, and why.
    pub fn skipped(&self) -> &[(String, String)] {
        &self.about.skipped
    }

    /// What would be done now; nothing is.
    ///
    /// # Errors
    /// See [`Mirror::sync`].
    pub async fn preview(&mut self) -> Result<Plan, MirrorError> {
        self.pull().await?;
        self.scan()?;
        self.trees.reconcile();
        Ok(self.plan())
    }

    /// Brings both sides in step, as far as that is possible now.
    ///
    /// # Errors
    /// [`MirrorError::is_transient`] when the server is not there. [`MirrorError::Emptied`] and
    /// [`MirrorError::ManyDeletions`] before anything is deleted.
    pub async fn sync(&mut self) -> Result<(), MirrorError> {
        let outcome = self.sync_rounds().await;
        self.about.last_error = outcome.as_ref().err().map(ToString::to_string);
        if outcome.is_ok() && self.trees.unsettled() == 0 {
            self.about.in_step_at = now();
        }
        self.state.set_about(&self.about)?;
        self.save()?;
        outcome
    }

    async fn sync_rounds(&mut self) -> Result<(), MirrorError> {
        let before = self.trees.cursor;
        let mut is_stuck = false;
        while !is_stuck {
            self.resend().await?;
            self.pull().await?;
            self.scan()?;
            self.trees.reconcile();
            let plan = self.plan();
            for (id, why) in &plan.problems {
                self.trees.note(id, why.as_str());
            }
            self.save()?;
            if plan.is_empty() {
                break;
            }
            self.check_deletions(&plan)?;
            is_stuck = !self.carry_out(plan).await?;
        }
        if self.trees.cursor != before {
            let (share, device) = (&self.about.share, &self.about.device);
            self.client
                .move_cursor(share, device, self.trees.cursor)
                .await?;
        }
        let problems = self.trees.problems().count() + self.about.skipped.len();
        let nodes = self.trees.synced().len();
        if self.trees.unsettled() <= self.trees.problems().count() {
            (self.observer)(Report::InStep { nodes, problems });
        }
        Ok(())
    }

    fn plan(&self) -> Plan {
        let terms = Terms {
            is_read_only: self.is_read_only,
            is_ignored: &|path, kind| self.folder.is_ignored(path, kind),
        };
        plan(&self.trees, &terms)
    }

    fn check_deletions(&self, plan: &Plan) -> Result<(), MirrorError> {
        let (deletions, nodes) = (plan.deletions(), self.trees.synced().len());
        let is_much = deletions > FEW_DELETIONS && deletions * 2 > nodes as u64;
        if is_much && !self.config.confirms_deletions {
            return Err(MirrorError::ManyDeletions { deletions, nodes });
        }
        Ok(())
    }

    /// Takes in what is in the folder.
    fn scan(&mut self) -> Result<(), MirrorError> {
        block_in_place(|| self.scan_here())
    }

    fn scan_here(&mut self) -> Result<(), MirrorError> {
        let root = self.folder.root().to_owned();
        let cannot = |source| MirrorError::Folder {
            path: root.clone(),
            source,
        };
        let mut scan = self.folder.scan(&self.trees).map_err(cannot)?;
        let nodes = self.trees.local().len();
        if scan.found.is_empty() && nodes > 0 && !self.config.confirms_deletions {
            return Err(MirrorError::Emptied { path: root, nodes });
        }
        let mut matched = self.trees.match_found(scan.found);
        if !matched.missing.is_empty() {
            thread::sleep(SECOND_LOOK);
            scan = self.folder.scan(&self.trees).map_err(cannot)?;
            matched = self.trees.match_found(scan.found);
        }
        let paths: Vec<String> = matched.unread.iter().map(|&at| matched.path(at)).collect();
        let readings = read_all(&self.folder, &paths);
        let readings = matched.unread.iter().copied().zip(readings).collect();
        self.trees.take_found(matched, readings);
        for (path, why) in &scan.skipped {
            if !self.about.skipped.iter().any(|(known, _)| known == path) {
                (self.observer)(Report::Note(format!("{path} is left out: {why}")));
            }
        }
        self.about.skipped = scan.skipped;
        Ok(())
    }

    /// Keeps the state.
    fn save(&mut self) -> Result<(), MirrorError> {
        self.saved_at = Instant::now();
        self.state.save(&mut self.trees, self.outbox.as_ref())
    }

    /// Keeps the state, unless that was done just now.
    fn save_now_and_then(&mut self) -> Result<(), MirrorError> {
        if self.saved_at.elapsed() < SAVE_PAUSE {
            return Ok(());
        }
        self.save()
    }

    /// Does what is planned. Whether anything of it was done.
    async fn carry_out(&mut self, plan: Plan) -> Result<bool, MirrorError> {
        let items = (plan.steps.len() + plan.intents.len()) as u64;
        let bytes = self.bytes_of(&plan);
        self.done = (0, 0);
        (self.observer)(Report::Begun { items, bytes });
        let here = self.receive(plan.steps).await?;
        let there = self.send(plan.intents).await?;
        Ok(here || there)
    }

    fn report_done(&mut self, items: u64, bytes: u64) {
        self.done.0 += items;
        self.done.1 += bytes;
        let (items, bytes) = self.done;
        (self.observer)(Report::Done { items, bytes });
    }
}

/// The contents of files, in order, read by several threads.
fn read_all(folder: &Folder, paths: &[String]) -> Vec<Reading> {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(BTreeMap::new());
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(READERS);
    thread::scope(|scope| {
        for _ in 0..threads.min(paths.len()) {
            scope.spawn(|| {
                while let Some((at, path)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    paths.get(at).map(|path| (at, path))
                } {
                    let reading = folder.read(path);
                    if let Ok(mut all) = all.lock() {
                        all.insert(at, reading);
                    }
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap_or_default();
    let unread = || Err("it could not be read".to_owned());
    (0..paths.len())
        .map(|at| all.remove(&at).unwrap_or_else(unread))
        .collect()
}

/// The time on this machine's clock, in RFC 3339.
fn now() -> Option<String> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    rfc3339(i64::try_from(now.as_millis()).ok()?)
}
