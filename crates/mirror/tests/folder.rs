//! What a folder on a real file system promises.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use sluice_mirror::Trees;
use sluice_mirror::folder::Folder;
use sluice_mirror::here::{Disk as _, StepError};
use sluice_mirror::tree::{Content, Kind, Node, Place, Stamp};
use sluice_mirror::trees::Ids;
use tempfile::TempDir;

/// A folder, and what is known of it.
struct World {
    root: TempDir,
    folder: Folder,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        Self { root, folder }
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.root.path().join(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.path().join(path)).unwrap()
    }

    /// A content that was downloaded.
    fn downloaded(&self, text: &str) -> Node {
        let version = format!("ver_{text}");
        fs::write(self.folder.part(&version).unwrap(), text).unwrap();
        Node {
            kind: Kind::File,
            place: Place {
                parent: "root".to_owned(),
                name: "x".to_owned(),
            },
            version: Some(version),
            content: Some(Content {
                sha256: String::new(),
                size: text.len() as u64,
            }),
            modified: Some(1_700_000_000_000),
        }
    }

    fn stamp(&mut self, path: &str) -> Stamp {
        let scan = self.folder.scan(&Trees::new(Ids::Random)).unwrap();
        let found = scan.found.iter().find(|it| it.name == path).unwrap();
        found.stamp.unwrap()
    }

    fn names(&mut self) -> Vec<String> {
        let scan = self.folder.scan(&Trees::new(Ids::Random)).unwrap();
        scan.found.into_iter().map(|it| it.name).collect()
    }
}

fn is_changed<T>(outcome: Result<T, StepError>) -> bool {
    matches!(outcome, Err(StepError::Changed))
}

fn is_taken<T>(outcome: Result<T, StepError>) -> bool {
    matches!(outcome, Err(StepError::Taken))
}

#[test]
fn a_content_replaces_the_file_that_is_in_step_and_no_other() {
    let mut world = World::new();
    world.write("x", "old");
    let known = world.stamp("x");
    let new = world.downloaded("new");
    world.write("x", "edited");
    assert!(is_changed(world.folder.put(&new, "x", Some((known, None)))));
    assert_eq!(world.read("x"), "edited");
    let known = world.stamp("x");
    let (_, stamp) = world.folder.put(&new, "x", Some((known, None))).unwrap();
    assert_eq!(world.read("x"), "new");
    assert_eq!(stamp, Some(world.stamp("x")));
    assert_eq!(stamp.unwrap().modified, 1_700_000_000_000_000_000);
}

#[test]
fn what_is_new_never_takes_the_place_of_anything() {
    let mut world = World::new();
    world.write("x", "mine");
    let new = world.downloaded("new");
    assert!(is_taken(world.folder.put(&new, "x", None)));
    assert!(is_taken(world.folder.make_folder("x")));
    world.write("y", "other");
    assert!(is_taken(world.folder.rename("y", "x", None)));
    assert_eq!(
        (world.read("x"), world.read("y")),
        ("mine".to_owned(), "other".to_owned())
    );
}

#[test]
fn a_file_that_was_edited_is_not_removed() {
    let mut world = World::new();
    world.write("x", "old");
    let known = world.stamp("x");
    world.write("x", "edited");
    assert!(is_changed(world.folder.remove_file("x", known)));
    assert_eq!(world.read("x"), "edited");
    let known = world.stamp("x");
    world.folder.remove_file("x", known).unwrap();
    assert!(world.names().is_empty());
}

#[test]
fn nothing_leads_out_of_the_folder() {
    let mut world = World::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x"), "outside").unwrap();
    symlink(outside.path(), world.root.path().join("link")).unwrap();
    let new = world.downloaded("new");
    assert!(is_changed(world.folder.put(&new, "link/y", None)));
    assert!(is_changed(world.folder.make_folder("link/z")));
    assert!(is_changed(world.folder.rename("link/x", "x", None)));
    assert!(is_changed(world.folder.remove_folder("link")));
    for path in ["../x", "a/../../x", "/x", "", "./x"] {
        assert!(world.folder.put(&new, path, None).is_err(), "{path}");
        assert!(world.folder.make_folder(path).is_err(), "{path}");
    }
    let left: Vec<_> = fs::read_dir(outside.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn what_cannot_be_kept_in_step_is_named_and_the_rest_is_found() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let mut world = World::new();
    world.write("x", "x");
    world.write("left.tmp", "x");
    world.write(".sluiceignore", "*.tmp\n/build/\n");
    fs::create_dir_all(world.root.path().join("build/deep")).unwrap();
    symlink("x", world.root.path().join("link")).unwrap();
    fs::write(world.root.path().join(OsStr::from_bytes(b"bad\xff")), "x").unwrap();
    let scan = world.folder.scan(&Trees::new(Ids::Random)).unwrap();
    let names: Vec<_> = scan.found.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, [".sluiceignore", "x"]);
    let mut skipped: Vec<_> = scan.skipped.iter().map(|(_, why)| why.as_str()).collect();
    skipped.sort_unstable();
    assert_eq!(skipped, ["it is a symbolic link", "its name is not UTF-8"]);
    assert!(world.folder.is_ignored("build/deep/file", Kind::File));
}

#[test]
fn a_folder_that_is_not_empty_stays() {
    let mut world = World::new();
    fs::create_dir(world.root.path().join("d")).unwrap();
    world.write("d/x", "x");
    let refused = world.folder.remove_folder("d");
    assert!(matches!(refused, Err(StepError::NotEmpty)));
    assert_eq!(world.read("d/x"), "x");
}

#[test]
fn a_file_that_replaces_another_may_be_read_by_the_same_people() {
    let mut world = World::new();
    world.write("x", "old");
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(world.root.path().join("x"), private).unwrap();
    let known = world.stamp("x");
    let new = world.downloaded("new");
    world.folder.put(&new, "x", Some((known, None))).unwrap();
    let mode = fs::metadata(world.root.path().join("x"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
