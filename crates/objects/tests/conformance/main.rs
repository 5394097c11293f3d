//! What every backend promises: one suite, run against a folder, memory, and S3.
//!
//! A test of the suite gets a store of its own, or a part of one, which is empty.

#![allow(clippy::unwrap_used)]

mod faults;
mod suite;

use std::time::{Duration, Instant};

use sluice_objects::{ContentHash, Layout, Objects};
use sluice_test_support::TestS3;
use tempfile::TempDir;
use url::Url;

/// A store of a test, which is empty.
fn folder() -> (TempDir, Objects) {
    let folder = tempfile::tempdir().unwrap();
    let address = Url::from_file_path(folder.path().join("made/by it")).unwrap();
    let objects = Objects::open(&address, &[]).unwrap();
    (folder, objects)
}

/// Waits until the server has all of its parts together, and its bucket.
async fn wait_until_ready(s3: &TestS3) {
    let objects = Objects::open(&s3.url("").parse().unwrap(), &s3.options()).unwrap();
    let begun = Instant::now();
    let layout = Layout::default().resumed(0, 1);
    loop {
        let name = suite::name("ver_ready");
        let mut writer = objects.write(name, layout.clone(), 0, ContentHash::default());
        writer.write(suite::bytes(1)).await.unwrap();
        match writer.finish().await {
            Ok(written) => {
                objects.delete(&written.content.name).await.unwrap();
                return;
            }
            Err(error) if begun.elapsed() > Duration::from_secs(60) => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// The tests of the suite: one by one in a folder and in memory, and all of them on one S3 server,
/// which takes some seconds to start.
macro_rules! conformance {
    ($($test:ident),+ $(,)?) => {
        mod folder {
            $(
                #[tokio::test]
                async fn $test() {
                    let (_folder, objects) = super::folder();
                    super::suite::$test(objects).await;
                }
            )+
        }

        mod memory {
            $(
                #[tokio::test]
                async fn $test() {
                    super::suite::$test(super::Objects::in_memory()).await;
                }
            )+
        }

        #[tokio::test]
        async fn s3_keeps_every_promise() {
            let s3 = TestS3::start();
            wait_until_ready(&s3).await;
            $(
                println!("{}", stringify!($test));
                let prefix = s3.url(concat!("a/", stringify!($test)));
                let objects = Objects::open(&prefix.parse().unwrap(), &s3.options());
                suite::$test(objects.unwrap()).await;
            )+
            faults::keys_that_are_refused_are_an_error_that_does_not_tell_them(&s3).await;
        }
    };
}

conformance![
    a_content_is_read_as_it_was_written,
    any_range_is_read,
    an_upload_goes_on_in_another_process,
    a_part_of_a_former_writer_that_comes_in_late_changes_nothing,
    what_did_not_fill_a_part_is_not_durable,
    deleting_takes_all_parts_and_nothing_else,
    contents_are_listed_once_and_by_age,
    a_missing_part_is_an_error_after_what_is_there,
    tenants_of_any_name_are_kept_apart,
    several_contents_are_written_at_once,
    a_check_leaves_nothing_behind,
];
