//! Folders that are kept in step by real processes.

pub mod chaos;
pub mod world;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sluice_test_support::project_root;

use world::{World, tree};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_one_folder_is_in_the_other_after_a_run_of_each() {
    let world = World::start().await;
    let (one, other) = (world.mirror("one"), world.mirror("other"));
    fs::create_dir_all(one.path("a/b")).unwrap();
    fs::create_dir(one.path("empty")).unwrap();
    fs::write(one.path("a/b/file"), "what it holds").unwrap();
    fs::write(one.path("big"), vec![7; 9_000_000]).unwrap();
    fs::write(one.path(".sluiceignore"), "*.tmp\n").unwrap();
    fs::write(one.path("left.tmp"), "out").unwrap();
    std::os::unix::fs::symlink("/etc", one.path("link")).unwrap();
    let said = one.once(&[]);
    assert!(said.contains("link"), "{said}");
    other.once(&[]);
    fs::remove_file(one.path("left.tmp")).unwrap();
    fs::remove_file(one.path("link")).unwrap();
    assert_eq!(tree(other.folder()), tree(one.folder()));

    // Both sides change: what does not conflict is merged, of what does both stay.
    fs::rename(one.path("a"), one.path("moved")).unwrap();
    fs::write(other.path("a/b/file"), "edited").unwrap();
    fs::write(one.path("big"), "of one").unwrap();
    fs::write(other.path("big"), "of the other").unwrap();
    fs::remove_dir(other.path("empty")).unwrap();
    one.once(&[]);
    let plan = other.once(&["--dry-run"]);
    assert!(plan.contains("here   move    a -> moved"), "{plan}");
    other.once(&[]);
    one.once(&[]);
    let tree_of_one = tree(one.folder());
    assert_eq!(tree_of_one, tree(other.folder()));
    assert_eq!(tree_of_one["moved/b/file"], Some(b"edited".to_vec()));
    assert!(!tree_of_one.contains_key("empty"));
    let big = tree_of_one
        .iter()
        .filter(|(path, _)| path.starts_with("big"));
    let big: Vec<_> = big.map(|(_, bytes)| bytes.clone().unwrap()).collect();
    assert_eq!(big, [b"of one".to_vec(), b"of the other".to_vec()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_emptied_stops_the_mirror_until_that_is_confirmed() {
    let world = World::start().await;
    let (one, other) = (world.mirror("one"), world.mirror("other"));
    for number in 0..3 {
        fs::write(one.path(&format!("{number}")), "x").unwrap();
    }
    one.once(&[]);
    for number in 0..3 {
        fs::remove_file(one.path(&format!("{number}"))).unwrap();
    }
    let refusal = one.refused(&[]);
    assert!(refusal.contains("--confirm-deletes"), "{refusal}");
    other.once(&[]);
    assert_eq!(tree(other.folder()).len(), 3);
    one.once(&["--confirm-deletes"]);
    other.once(&["--confirm-deletes"]);
    assert_eq!(tree(other.folder()).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_without_changes_makes_as_many_requests_for_many_files_as_for_few() {
    let world = World::start().await;
    let one = world.mirror("one");
    let requests = async || {
        let before = world.requests().await;
        one.once(&[]);
        world.requests().await - before
    };
    fs::write(one.path("first"), "x").unwrap();
    one.once(&[]);
    let few = requests().await;
    for number in 0..300 {
        fs::write(one.path(&format!("{number}")), format!("{number}")).unwrap();
    }
    one.once(&[]);
    assert_eq!(requests().await, few);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_in_another_language_has_what_the_mirror_has() {
    let world = World::start().await;
    let mut one = world.mirror("one");
    fs::create_dir(one.path("a")).unwrap();
    fs::write(one.path("a/file"), "first").unwrap();
    one.start();
    let folder = tempfile::tempdir().unwrap();
    let share = world.share().await;
    let mut follower = Command::new(project_root().join(".examples/bin/python"))
        .arg(project_root().join("examples/follow.py"))
        .args([world.api(), world.token(), share])
        .arg(folder.path())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let is_like = async |what: &str| {
        world::eventually(what, async || followed(folder.path()) == tree(one.folder())).await;
    };
    is_like("the follower has the first file").await;
    fs::rename(one.path("a"), one.path("b")).unwrap();
    fs::write(one.path("b/other"), "second").unwrap();
    fs::write(one.path("b/file"), "third").unwrap();
    world::eventually("the follower has the second file", async || {
        followed(folder.path()).contains_key("b/other")
    })
    .await;
    fs::remove_file(one.path("b/other")).unwrap();
    is_like("the follower has what is left").await;
    assert_eq!(followed(folder.path())["b/file"], Some(b"third".to_vec()));
    follower.kill().unwrap();
    follower.wait().unwrap();
}

/// The tree of a follower, without what it keeps for itself.
fn followed(folder: &Path) -> world::Contents {
    let mut tree = tree(folder);
    tree.retain(|path, _| !path.starts_with(".follow.json"));
    tree
}

#[tokio::test(flavor = "multi_thread")]
async fn after_edits_while_everything_is_killed_folders_and_server_agree() {
    chaos::run(Duration::from_secs(20), rand::random::<u64>() >> 16).await;
}
