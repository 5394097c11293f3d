//! Histories of three devices by chance, on folders in memory and a plain model of the server: edits,
//! moves, changes of case, deletions, times offline, crashes, lost answers, lost histories, clocks
//! that are wrong. When all is quiet, all folders are as the server's tree, and no content is gone
//! that its user did not remove.
//!
//! `SLUICE_SIMULATION_SEED` runs one history and prints it; with `SLUICE_SIMULATION_HISTORIES` it is the
//! first of so many.

#![allow(clippy::unwrap_used, clippy::result_large_err)]

mod device;
mod disk;
mod random;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use device::Device;
use random::Random;
use server::Server;

const DEVICES: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 6] = ["x", "X", "y", "z.txt", "straße", "STRASSE"];
const HISTORIES: u64 = 3000;

/// What users do in a history.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Users {
    /// Anything.
    Any,
    /// They remove nothing: no deletion, and no other content of a file.
    Gentle,
}

struct World {
    random: Random,
    server: Server,
    devices: Vec<Device>,
    users: Users,
    /// Contents that their users have not removed.
    owed: BTreeSet<String>,
    /// Contents that only the server had, and lost.
    lost: BTreeSet<String>,
    before: Option<Server>,
    made: usize,
    loses_history: bool,
    is_traced: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let users = if random.below(3) == 0 {
            Users::Gentle
        } else {
            Users::Any
        };
        let loses_history = random.below(4) == 0;
        let is_traced = std::env::var_os("SLUICE_SIMULATION_SEED").is_some()
            && std::env::var_os("SLUICE_SIMULATION_HISTORIES").is_none();
        Self {
            random,
            server: Server::new(),
            devices: DEVICES
                .iter()
                .map(|name| Device::new(name, is_traced))
                .collect(),
            users,
            owed: BTreeSet::new(),
            lost: BTreeSet::new(),
            before: None,
            made: 0,
            loses_history,
            is_traced,
        }
    }

    fn run(&mut self) {
        let length = 20 + self.random.below(160);
        for _ in 0..length {
            let at = self.random.below(DEVICES.len());
            let advance = 1 + self.random.below(20) as i64;
            for device in &mut self.devices {
                device.disk.clock += advance;
            }
            match self.random.below(100) {
                0..30 => self.act(at),
                30..92 => self.devices[at].tick(&mut self.server, &mut self.random),
                92..94 => self.devices[at].crash(),
                94..96 => self.devices[at].is_online ^= true,
                96 => {
                    let by = self.random.below(200_000) as i64 - 100_000;
                    self.devices[at].disk.clock += by;
                }
                97 if self.loses_history => self.before = Some(self.server.clone()),
                98 if self.loses_history => self.lose_history(),
                99 => {
                    let head = self.server.head();
                    self.server.floor = self.server.floor.max(head.saturating_sub(8).max(1));
                }
                _ => {}
            }
        }
        self.settle();
        self.check();
    }

    fn lose_history(&mut self) {
        if let Some(before) = self.before.take() {
            // What is in a folder is sent again.
            let trees = self.devices.iter().map(|device| device.disk.tree());
            let here: BTreeSet<String> = trees.flat_map(BTreeMap::into_values).flatten().collect();
            let contents = self.server.contents();
            self.lost.extend(contents.difference(&here).cloned());
            let made = self.server.made;
            self.server = before;
            self.server.made = made;
        }
    }

    fn text(&mut self) -> String {
        if self.random.below(6) == 0 {
            return format!("s{:04}", self.random.below(3));
        }
        self.made += 1;
        let text = format!("t{:04}", self.made);
        self.owed.insert(text.clone());
        text
    }

    /// A path that is free, in some folder.
    fn free(&mut self, at: usize) -> Option<String> {
        let disk = &self.devices[at].disk;
        let folders = disk.paths(|is_folder| is_folder);
        let name = self.random.pick(&NAMES).unwrap();
        let path = match self.random.below(3) {
            0 => (*name).to_owned(),
            _ => match self.random.pick(&folders) {
                Some(folder) => format!("{folder}/{name}"),
                None => (*name).to_owned(),
            },
        };
        (!disk.is_there(&path)).then_some(path)
    }

    /// What a user does.
    fn act(&mut self, at: usize) {
        let is_gentle = self.users == Users::Gentle;
        let disk = &self.devices[at].disk;
        let (files, all) = (disk.paths(|is_folder| !is_folder), disk.paths(|_| true));
        let file = self.random.pick(&files).cloned();
        let any = self.random.pick(&all).cloned();
        let other = self.random.pick(&all).cloned();
        let free = self.free(at);
        let kind = self.random.below(20);
        if self.is_traced {
            eprintln!(
                "{} acts {kind}: {file:?} {any:?} {other:?} {free:?}",
                DEVICES[at]
            );
        }
        match (kind, file, any, free) {
            (0..5, _, _, Some(free)) => {
                let text = self.text();
                self.devices[at].disk.write(&free, &text);
            }
            (5..8, _, _, Some(free)) => self.devices[at].disk.make(&free),
            (8..11, Some(file), ..) if !is_gentle => {
                let text = self.text();
                let disk = &mut self.devices[at].disk;
                self.owed.remove(&disk.text(&file).unwrap());
                // The same again is no other content.
                self.owed.insert(text.clone()).then_some(());
                if text.starts_with('s') {
                    self.owed.remove(&text);
                }
                match kind {
                    8 | 9 => disk.write(&file, &text),
                    _ => disk.replace(&file, &text),
                }
            }
            (11..13, _, Some(any), _) if !is_gentle => {
                for text in self.devices[at].disk.remove_all(&any) {
                    self.owed.remove(&text);
                }
            }
            (13..17, _, Some(any), Some(free)) => {
                self.devices[at].disk.move_all(&any, &free);
            }
            // Two change their names.
            (17, _, Some(any), _) => {
                let Some(other) = other.filter(|it| *it != any) else {
                    return;
                };
                let disk = &mut self.devices[at].disk;
                if !other.starts_with(&format!("{any}/"))
                    && !any.starts_with(&format!("{other}/"))
                    && disk.move_all(&any, "aside")
                {
                    assert!(disk.move_all(&other, &any));
                    assert!(disk.move_all("aside", &other));
                }
            }
            // What is in a folder comes to its place, and the folder into it.
            (18, _, Some(any), _) => {
                let Some((folder, _)) = any.split_once('/') else {
                    return;
                };
                let disk = &mut self.devices[at].disk;
                let folder = folder.to_owned();
                disk.move_all(&any, "aside");
                let is_folder = disk.paths(|it| it).contains(&"aside".to_owned());
                let inner = format!("aside/{}", NAMES[0]);
                if !is_folder || !disk.move_all(&folder, &inner) {
                    disk.move_all(&folder, "y").then_some(());
                }
                disk.move_all("aside", &folder);
            }
            (19, Some(file), _, Some(free)) => {
                let text = self.devices[at].disk.text(&file).unwrap();
                self.devices[at].disk.write(&free, &text);
            }
            _ => {}
        }
    }

    /// Lets all devices come to rest.
    fn settle(&mut self) {
        for device in &mut self.devices {
            device.is_online = true;
        }
        for round in 0..400 {
            let head = self.server.head();
            for at in 0..DEVICES.len() {
                self.devices[at].disk.clock += 100;
                self.devices[at].is_idle = false;
                if round % 10 == 9 {
                    self.devices[at].retry();
                }
                for _ in 0..40 {
                    self.devices[at].tick(&mut self.server, &mut self.random);
                    if self.devices[at].is_idle {
                        break;
                    }
                }
            }
            let is_quiet = self
                .devices
                .iter()
                .all(|it| it.is_idle && it.trees().unsettled() == 0 && it.trees().cursor == head);
            if is_quiet && self.server.head() == head {
                return;
            }
        }
        for device in &self.devices {
            let problems: Vec<_> = device.trees().problems().collect();
            let cursor = device.trees().cursor;
            eprintln!(
                "{} at {cursor} idle {}: {problems:?}",
                device.name, device.is_idle
            );
            eprintln!("{:#?}\n{:#?}", device.disk.tree(), device.trees().open());
        }
        panic!(
            "it does not come to rest at {}: {:#?}",
            self.server.head(),
            self.server.tree()
        );
    }

    fn check(&self) {
        let tree = self.server.tree();
        for device in &self.devices {
            assert_eq!(device.disk.tree(), tree, "folder of {}", device.name);
        }
        let versions = self.server.contents();
        let live: BTreeSet<String> = tree.into_values().flatten().collect();
        let kept = match self.users {
            Users::Any => &versions,
            Users::Gentle => &live,
        };
        for text in &self.owed {
            assert!(
                kept.contains(text) || self.lost.contains(text),
                "{text} is gone"
            );
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn after_any_history_all_folders_are_as_the_server_and_nothing_is_lost() {
    let first = number("SLUICE_SIMULATION_SEED");
    let histories = number("SLUICE_SIMULATION_HISTORIES");
    let histories = histories.unwrap_or(if first.is_some() { 1 } else { HISTORIES });
    let first = first.unwrap_or_default();
    for seed in first..first + histories {
        let run = catch_unwind(AssertUnwindSafe(|| World::new(seed).run()));
        if let Err(panic) = run {
            eprintln!(
                "this history again: SLUICE_SIMULATION_SEED={seed} cargo test -p sluice-mirror"
            );
            std::panic::resume_unwind(panic);
        }
    }
}
