//! What every backend promises: one suite, run against a folder, memory, and S3.
//!
//! A test of the suite gets a store of its own, which is empty.

#![allow(clippy::unwrap_used)]

mod faults;
mod suite;

use sluice_objects::Objects;
use sluice_test_support::TestS3;
use tempfile::TempDir;
use url::Url;

/// A store that belongs to one test.
trait Backend {
    fn start() -> Self;
    fn objects(&self) -> Objects;
}

struct Folder(TempDir);

impl Backend for Folder {
    fn start() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn objects(&self) -> Objects {
        let address = Url::from_file_path(self.0.path().join("made/by it")).unwrap();
        Objects::open(&address, &[]).unwrap()
    }
}

struct Memory(Objects);

impl Backend for Memory {
    fn start() -> Self {
        Self(Objects::in_memory())
    }

    fn objects(&self) -> Objects {
        self.0.clone()
    }
}

impl Backend for TestS3 {
    fn start() -> Self {
        TestS3::start()
    }

    fn objects(&self) -> Objects {
        Objects::open(&self.url("a/prefix").parse().unwrap(), &self.options()).unwrap()
    }
}

/// The tests of the suite, once for each backend.
macro_rules! conformance {
    ($($test:ident),+ $(,)?) => {
        conformance!(folder Folder [$($test),+]);
        conformance!(memory Memory [$($test),+]);
        conformance!(s3 TestS3 [$($test),+]);
    };
    ($module:ident $backend:ident [$($test:ident),+]) => {
        mod $module {
            use super::{suite, Backend as _, $backend};

            $(
                #[tokio::test]
                async fn $test() {
                    let backend = $backend::start();
                    suite::$test(backend.objects()).await;
                }
            )+
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
];
