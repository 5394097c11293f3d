//! A device: a folder, the mirror's state, and the loop that keeps them in step with the server, a
//! step at a time.

use std::collections::{BTreeMap, VecDeque};

use sluice_mirror::outcome::Sent;
use sluice_mirror::plan::{Act, Intent, Plan, Step, Terms};
use sluice_mirror::trees::Ids;
use sluice_mirror::{Trees, plan};

use crate::disk::Disk;
use crate::random::Random;
use crate::server::Server;

/// What survives a crash.
#[derive(Clone)]
struct Kept {
    trees: Trees,
    outbox: Option<(u64, Vec<Sent>)>,
}

enum Phase {
    Pull,
    Scan,
    Steps(VecDeque<Step>, VecDeque<Vec<Intent>>),
}

pub struct Device {
    pub name: String,
    pub disk: Disk,
    trees: Trees,
    outbox: Option<(u64, Vec<Sent>)>,
    kept: Kept,
    phase: Phase,
    /// Whether the last plan had nothing in it.
    pub is_idle: bool,
    pub is_online: bool,
    /// Whether it prints what it plans.
    pub is_traced: bool,
}

impl Device {
    pub fn new(name: &str, is_traced: bool) -> Self {
        let trees = Trees::new(Ids::Counted(name.to_owned(), 0));
        let kept = Kept {
            trees: trees.clone(),
            outbox: None,
        };
        Self {
            name: name.to_owned(),
            disk: Disk::default(),
            trees,
            outbox: None,
            kept,
            phase: Phase::Pull,
            is_idle: false,
            is_online: true,
            is_traced,
        }
    }

    pub fn trees(&self) -> &Trees {
        &self.trees
    }

    /// The process ends at once; what was kept is there when it starts again.
    pub fn crash(&mut self) {
        let ids = self.trees.ids();
        self.trees = self.kept.trees.clone();
        // Ids are random in truth, and so are never given twice.
        self.trees.set_ids(ids);
        self.outbox = self.kept.outbox.clone();
        self.phase = Phase::Pull;
        self.is_idle = false;
    }

    pub fn retry(&mut self) {
        self.trees.retry_problems();
    }

    fn keep(&mut self) {
        self.kept = Kept {
            trees: self.trees.clone(),
            outbox: self.outbox.clone(),
        };
    }

    fn maybe_keep(&mut self, random: &mut Random) {
        if random.below(3) == 0 {
            self.keep();
        }
    }

    /// One step of the loop.
    pub fn tick(&mut self, server: &mut Server, random: &mut Random) {
        if !self.is_online {
            return;
        }
        if self.outbox.is_some() {
            self.send(server, random);
            return;
        }
        match std::mem::replace(&mut self.phase, Phase::Pull) {
            Phase::Pull => self.pull(server, random),
            Phase::Scan => self.scan(random),
            Phase::Steps(mut steps, mut batches) => {
                if let Some(step) = steps.pop_front() {
                    self.step(&step, server);
                    self.maybe_keep(random);
                    self.phase = Phase::Steps(steps, batches);
                } else if let Some(batch) = batches.pop_front() {
                    self.phase = Phase::Steps(steps, batches);
                    self.prepare(batch, server);
                }
            }
        }
    }

    fn pull(&mut self, server: &mut Server, random: &mut Random) {
        let since = self.trees.last_change.clone();
        match server.changes(self.trees.cursor, since.as_deref(), 1 + random.below(5)) {
            Ok(page) => {
                if self.trees.has_lost(&page) {
                    self.reset(server);
                    return;
                }
                self.trees.pull(&page, &self.name);
                self.phase = if page.has_more {
                    Phase::Pull
                } else {
                    Phase::Scan
                };
                self.maybe_keep(random);
            }
            Err(_) => self.reset(server),
        }
    }

    fn reset(&mut self, server: &Server) {
        let mut snapshot = server.snapshot();
        let doubtful = self.trees.in_doubt(&snapshot).into_iter().map(|it| it.1);
        snapshot.kept = doubtful
            .filter(|it| server.download(it).is_some())
            .collect();
        self.trees.reset(&snapshot);
        self.outbox = None;
        self.keep();
        self.phase = Phase::Scan;
    }

    fn scan(&mut self, random: &mut Random) {
        let matched = self.trees.match_found(self.disk.scan());
        let mut readings = BTreeMap::new();
        for &at in &matched.unread {
            readings.insert(at, self.disk.read(&matched.path(at)));
        }
        self.trees.take_found(matched, readings);
        self.trees.reconcile();
        let terms = Terms {
            is_read_only: false,
            is_ignored: &|_, _| false,
        };
        let Plan {
            steps,
            intents,
            problems,
        } = plan(&self.trees, &terms);
        assert!(problems.is_empty(), "{problems:?}");
        self.is_idle = steps.is_empty() && intents.is_empty();
        if self.is_traced {
            eprintln!(
                "{} at {}: {steps:?}\n  {intents:?}",
                self.name, self.trees.cursor
            );
        }
        let mut batches: VecDeque<Vec<Intent>> = VecDeque::new();
        for intent in intents {
            match batches.back_mut() {
                Some(batch) if batch[0].base == intent.base && batch.len() < 4 => {
                    batch.push(intent)
                }
                _ => batches.push_back(vec![intent]),
            }
        }
        self.maybe_keep(random);
        self.phase = Phase::Steps(steps.into(), batches);
    }

    fn step(&mut self, step: &Step, server: &Server) {
        if let Step::Fetch(id) = step
            && let Some(version) = self
                .trees
                .remote()
                .get(id)
                .and_then(|it| it.version.clone())
            && let Some(text) = server.download(&version)
        {
            self.disk.downloads.insert(version, text);
        }
        self.trees.try_step(step, &mut self.disk);
    }

    /// Uploads what a batch needs and keeps it, to be sent.
    fn prepare(&mut self, batch: Vec<Intent>, server: &mut Server) {
        let base = batch[0].base;
        let mut sent = Vec::new();
        for intent in batch {
            let version = match &intent.act {
                Act::Create(_, Some(content)) | Act::Update(content, _) => {
                    let path = self.trees.local().path(&intent.id);
                    let text = path.and_then(|it| self.disk.text(&it));
                    match text.filter(|it| *it == content.sha256) {
                        Some(text) => Some(server.upload(&intent.id, &text)),
                        None => continue,
                    }
                }
                _ => None,
            };
            let id = self.trees.new_id("chg");
            sent.push(Sent::new(id, intent, version, None));
        }
        if !sent.is_empty() {
            self.outbox = Some((base, sent));
            self.keep();
        }
    }

    fn send(&mut self, server: &mut Server, random: &mut Random) {
        let (base, sent) = self.outbox.clone().unwrap();
        if random.below(10) == 0 {
            return;
        }
        let changes: Vec<_> = sent.iter().map(|it| it.change.clone()).collect();
        match server.apply(&self.name, base, &changes) {
            Err(_) => self.reset(server),
            // The answer is lost.
            Ok(_) if random.below(6) == 0 => {}
            Ok(outcomes) => {
                if self.is_traced {
                    eprintln!("{} sent {base} {changes:?}\n  {outcomes:?}", self.name);
                }
                self.outbox = None;
                if !self.trees.answered(&sent, &outcomes) {
                    self.phase = Phase::Pull;
                }
                self.keep();
            }
        }
    }
}
