//! Two folders that users change by chance while all that keeps them in step is killed, stopped, and
//! cut off.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::time::sleep;

use super::world::{Mirror, World, tree};
use crate::harness::PATIENCE;

const NAMES: [&str; 8] = ["a", "b", "C", "c", "plan.txt", "d", "Ä", "e"];
/// A fault comes about so often, in ms.
const FAULT_PAUSE_MS: std::ops::Range<u64> = 600..1_600;
/// How long something is stopped, in ms.
const STOP_MS: std::ops::Range<u64> = 200..1_500;

/// Edits for so long, then waits until both folders and the server agree, byte for byte.
pub async fn run(length: Duration, seed: u64) {
    eprintln!("the seed of the mirrors' faults is {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::start().await;
    world.deployment.configure_valkey("appendfsync", "always");
    let mut mirrors = [world.mirror("one"), world.mirror("other")];
    // The first makes the share.
    mirrors[0].once(&[]);
    mirrors.iter_mut().for_each(Mirror::start);
    let mut users = Users::new();
    let end = Instant::now() + length;
    let mut fault_at = Instant::now();
    while Instant::now() < end {
        let mirror = &mirrors[random.random_range(0..2)];
        users.act(mirror.folder(), &mut random);
        sleep(Duration::from_millis(random.random_range(0..40))).await;
        if Instant::now() > fault_at {
            fault(&mut world, &mut mirrors, &mut random).await;
            let pause = random.random_range(FAULT_PAUSE_MS);
            fault_at = Instant::now() + Duration::from_millis(pause);
        }
    }
    let third = world.mirror("third");
    let begun = Instant::now();
    loop {
        sleep(Duration::from_millis(500)).await;
        let trees = [tree(mirrors[0].folder()), tree(mirrors[1].folder())];
        if trees[0] == trees[1] {
            // What the server has, downloaded anew.
            third.once(&["--confirm-deletes"]);
            if tree(third.folder()) == trees[0] {
                break;
            }
        }
        if begun.elapsed() > 2 * PATIENCE {
            let is_other = |path: &&String| trees[0].get(*path) != trees[1].get(*path);
            let paths: BTreeSet<&String> = trees.iter().flat_map(|it| it.keys()).collect();
            let differ: Vec<_> = paths.into_iter().filter(is_other).collect();
            let logs: Vec<String> = mirrors.iter().map(Mirror::log).collect();
            let logs = logs.join("\n");
            panic!("seed {seed}: they differ in {differ:?}\n{logs}");
        }
    }
    let live: BTreeSet<Vec<u8>> = tree(third.folder()).into_values().flatten().collect();
    let gone: Vec<_> = users
        .owed
        .iter()
        .filter(|text| !live.contains(text.as_bytes()))
        .collect();
    assert!(gone.is_empty(), "seed {seed}: nobody removed {gone:?}");
}

/// Kills, stops or cuts something.
async fn fault(world: &mut World, mirrors: &mut [Mirror; 2], random: &mut StdRng) {
    let stop = Duration::from_millis(random.random_range(STOP_MS));
    let at = random.random_range(0..2);
    match random.random_range(0..9) {
        0 | 1 => {
            mirrors[at].kill();
            sleep(stop / 3).await;
            mirrors[at].start();
        }
        2 => {
            if let Some(process) = &mirrors[at].process {
                process.signal("STOP");
                sleep(stop).await;
                process.signal("CONT");
            }
        }
        3 => world.deployment.restart_api_after_kill().await,
        4 => {
            world.deployment.api.signal("STOP");
            sleep(stop).await;
            world.deployment.api.signal("CONT");
        }
        5 => {
            world.deployment.valkey.kill();
            sleep(stop / 3).await;
            world.deployment.valkey.restart();
            world.deployment.client.wait_until_ready().await;
        }
        6 => {
            world.deployment.workers.clear();
            world.deployment.add_worker();
        }
        _ => world.way.cut(),
    }
}

/// What users do, and what of it they have not removed.
struct Users {
    /// Contents that are to be there in the end.
    owed: BTreeSet<String>,
    made: u64,
    /// Where what is removed is looked at.
    bin: TempDir,
}

impl Users {
    fn new() -> Self {
        Self {
            owed: BTreeSet::new(),
            made: 0,
            bin: tempfile::tempdir().unwrap(),
        }
    }

    fn text(&mut self) -> String {
        self.made += 1;
        format!("content {:06}", self.made)
    }

    /// One act in a folder. What is not possible, as the folder has changed meanwhile, is not done.
    fn act(&mut self, folder: &Path, random: &mut StdRng) {
        let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
        for (path, bytes) in tree(folder) {
            let list = if bytes.is_none() {
                &mut folders
            } else {
                &mut files
            };
            list.push(folder.join(path));
        }
        let free = folders
            .choose(random)
            .unwrap()
            .join(NAMES.choose(random).unwrap());
        let file = files.choose(random);
        match (random.random_range(0..12), file) {
            (0..4, _) => self.write(&free),
            (4..6, _) => {
                let _ = fs::create_dir(&free);
            }
            (6..8, Some(file)) => {
                if self.remove(file) {
                    self.write(file);
                }
            }
            (8, Some(file)) => {
                self.remove(file);
            }
            (9, _) if folders.len() > 12 => {
                self.remove(&folders[random.random_range(1..folders.len())]);
            }
            (_, _) => {
                let any = folders[1..].iter().chain(&files).collect::<Vec<_>>();
                if let Some(from) = any.choose(random) {
                    // Never over anything: what is there would be gone.
                    let flags = rustix::fs::RenameFlags::NOREPLACE;
                    let cwd = rustix::fs::CWD;
                    let _ = rustix::fs::renameat_with(cwd, from.as_path(), cwd, &free, flags);
                }
            }
        }
    }

    fn write(&mut self, path: &Path) {
        let text = self.text();
        // Under its name it is whole at once, so that what somebody removes is known.
        let part = self.bin.path().join("part");
        fs::write(&part, &text).unwrap();
        if fs::hard_link(&part, path).is_ok() {
            self.owed.insert(text);
        }
        fs::remove_file(part).unwrap();
    }

    /// Removes, and looks at what was removed.
    fn remove(&mut self, path: &Path) -> bool {
        let removed: PathBuf = self.bin.path().join("removed");
        let is_removed = fs::rename(path, &removed).is_ok();
        if is_removed && removed.is_dir() {
            for text in tree(&removed).into_values().flatten() {
                self.owed.remove(std::str::from_utf8(&text).unwrap());
            }
            fs::remove_dir_all(&removed).unwrap();
        } else if is_removed {
            self.owed.remove(&fs::read_to_string(&removed).unwrap());
            fs::remove_file(&removed).unwrap();
        }
        is_removed
    }
}
