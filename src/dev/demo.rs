//! `--demo`: two users with the metadata of real files of this machine.

use std::path::Path;

use sluice_convex::Client;

use crate::failure::Failure;
use crate::import::{files_below, import};
use crate::output;

/// A user, how many files at most, and where they are looked for: folders further on count when the
/// first have too few.
struct DemoUser {
    name: &'static str,
    files: usize,
    folders: &'static [&'static str],
}

/// The users that the demo has, largest first.
const USERS: &[DemoUser] = &[
    DemoUser {
        name: "usr_demo1",
        files: 5_000,
        folders: &["/usr/share", "/usr/lib", "/usr"],
    },
    DemoUser {
        name: "usr_demo2",
        files: 2_000,
        folders: &["/usr/include", "/usr/lib", "/usr"],
    },
];

/// The user whose name the examples use.
pub const FIRST_USER: &str = USERS[0].name;

/// Imports both users' files. Doing it again changes nothing but what changed on this machine.
pub async fn load(client: &Client) -> Result<(), Failure> {
    for user in USERS {
        let files = user
            .folders
            .iter()
            .flat_map(|folder| files_below(Path::new(folder)))
            .take(user.files);
        let (imported, _) = import(client, user.name, files, |_| {}).await?;
        output::line(format_args!(
            "demo data   {} files of {}",
            imported.files, user.name
        ));
    }
    Ok(())
}
