//! Every example runs, and ends by itself.
// Each example brings what they share along.
#![allow(clippy::unwrap_used, clippy::duplicate_mod, dead_code)]

#[path = "../../examples/batches.rs"]
mod batches;
#[path = "../../examples/bounds.rs"]
mod bounds;
#[path = "../../examples/bulk.rs"]
mod bulk;
#[path = "../../examples/cancelling.rs"]
mod cancelling;
#[path = "../../examples/chains.rs"]
mod chains;
#[path = "../../examples/dead_letters.rs"]
mod dead_letters;
#[path = "../../examples/draining.rs"]
mod draining;
#[path = "../../examples/groups.rs"]
mod groups;
#[path = "../../examples/idempotency.rs"]
mod idempotency;
#[path = "../../examples/limits.rs"]
mod limits;
#[path = "../../examples/pause.rs"]
mod pause;
#[path = "../../examples/poison.rs"]
mod poison;
#[path = "../../examples/priorities.rs"]
mod priorities;
#[path = "../../examples/progress.rs"]
mod progress;
#[path = "../../examples/rates.rs"]
mod rates;
#[path = "../../examples/results.rs"]
mod results;
#[path = "../../examples/retention.rs"]
mod retention;
#[path = "../../examples/retries.rs"]
mod retries;
#[path = "../../examples/scheduling.rs"]
mod scheduling;
#[path = "../../examples/tasks.rs"]
mod tasks;
#[path = "../../examples/typed.rs"]
mod typed;
#[path = "../../examples/unique.rs"]
mod unique;
#[path = "../../examples/versions.rs"]
mod versions;

use std::collections::BTreeSet;
use std::path::Path;

use sluice_test_support::TestValkey;
use tokio::time::timeout;

use crate::common::LONG;

macro_rules! run {
    ($($name:ident)+) => {
        const NAMES: &[&str] = &[$(stringify!($name)),+];

        mod examples {
            use super::*;

            $(#[tokio::test]
            async fn $name() {
                let valkey = TestValkey::start();
                let done = timeout(LONG, super::$name::run(&valkey.url())).await;
                done.expect("it does not end").unwrap();
            })+
        }
    };
}

run!(
    batches bounds bulk cancelling chains dead_letters draining groups idempotency limits pause
    poison priorities progress rates results retention retries scheduling tasks typed unique
    versions
);

#[test]
fn no_example_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = folder.read_dir().unwrap().map(|it| it.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|it| it == "rs"));
    let files: BTreeSet<_> = files
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(files, NAMES.iter().map(|&it| it.to_owned()).collect());
}
