//! Contents of files on their way in and out, and their end, against a real Valkey and a folder.

use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use redis::Commands;
use sluice_convex::{Client, ClientConfig, FilesVia, files};
use sluice_jobs::filesync::{ContentsConfig, NewContent, SweepConfig, TransferError, Transfers};
use sluice_jobs::schedules::Schedule;
use sluice_jobs::{JobsConfig, run_workers};
use sluice_objects::{ContentHash, Objects, PART_BYTES};
use sluice_queue::{QueueConfig, Queues};
use sluice_store::cache::{Cache, CacheConfig};
use sluice_store::documents::DocumentsConfig;
use sluice_store::filesync::{
    Batch, Caller, Filesync, NewDevice, NewShare, NewUpload, Platform, ShareSettings,
    UploadedVersion,
};
use sluice_test_support::TestValkey;
use sluice_valkey::Valkey;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use walkdir::WalkDir;

const PATIENCE: Duration = Duration::from_secs(60);
const PART: usize = PART_BYTES as usize;

/// A share, and where its contents are.
struct World {
    valkey: TestValkey,
    folder: TempDir,
    files: Filesync,
    transfers: Transfers,
    share: String,
}

/// Who owns the share.
fn user() -> &'static Caller {
    static USER: LazyLock<Caller> = LazyLock::new(|| Caller {
        tenant: "acme".into(),
        user: "usr_1".into(),
        groups: Vec::new(),
        is_admin: false,
    });
    &USER
}

/// Bytes of which no two stretches are alike.
fn bytes(length: usize) -> Bytes {
    (0..length as u64)
        .map(|at| (at * at / 7 + at / 251) as u8)
        .collect()
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hash = ContentHash::default();
    hash.update(bytes);
    hash.digest()
}

fn content(share: &str, name: Option<&str>, size: usize) -> NewContent {
    NewContent {
        share: share.into(),
        upload: NewUpload {
            file: "fil_1".into(),
            name: name.map(Into::into),
            size: size as u64,
            offset: 0,
            mime: "text/plain".into(),
        },
        sha256: None,
        body_sha256: None,
    }
}

/// A body as it comes from a network, in pieces.
fn body(bytes: &Bytes) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin + Send + 'static {
    let pieces = (0..bytes.len()).step_by(100_000);
    let pieces = pieces.map(|at| bytes.slice(at..bytes.len().min(at + 100_000)));
    stream::iter(pieces.map(Ok).collect::<Vec<_>>())
}

/// A body whose connection breaks behind these bytes.
fn cut(bytes: &Bytes) -> impl Stream<Item = Result<Bytes, Error>> + Unpin + Send + 'static {
    let broken = stream::iter([Err(Error::from(ErrorKind::ConnectionReset))]);
    body(bytes).map(|piece| Ok(piece.unwrap())).chain(broken)
}

impl World {
    async fn start() -> World {
        let valkey = TestValkey::start();
        let files = Filesync::new(&Valkey::at(&valkey.url()).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let config = ContentsConfig {
            objects: Objects::in_folder(folder.path()).unwrap(),
            max_bytes: 100_000_000,
            uploads: 4,
        };
        let share = NewShare {
            name: "Plans".into(),
            settings: ShareSettings::default(),
        };
        let share = files.create_share(user(), &share).await.unwrap().id;
        let transfers = Transfers::new(files.clone(), config);
        World {
            valkey,
            folder,
            files,
            transfers,
            share,
        }
    }

    fn content(&self, name: Option<&str>, size: usize) -> NewContent {
        content(&self.share, name, size)
    }

    /// Has a change name a version, so that it is kept.
    async fn name(&self, version: &str) {
        let said = NewDevice {
            name: "laptop".into(),
            platform: Platform::Cli,
            client_version: String::new(),
        };
        let device = user().device("laptop");
        self.files.register_device(device, &said).await.unwrap();
        let change = serde_json::json!({
            "resource_type": "file", "change_type": "created", "new_path": "/a", "version_id": version,
        });
        let batch = Batch {
            device: "laptop".into(),
            share: self.share.clone(),
            strategy: None,
            base_cursor: None,
            sent_at: None,
            is_confirmed: false,
            changes: vec![serde_json::from_value(change).unwrap()],
        };
        let applied = self.files.apply(user(), &batch).await.unwrap();
        assert_eq!(applied.applied.len(), 1, "{applied:?}");
    }

    async fn upload(
        &self,
        new: NewContent,
        bytes: &Bytes,
    ) -> Result<UploadedVersion, TransferError> {
        self.transfers
            .upload(user().clone(), new, body(bytes))
            .await
    }

    async fn read(&self, version: &str) -> Bytes {
        let found = self
            .transfers
            .find(user(), "fil_1", Some(version))
            .await
            .unwrap();
        let size = found.version.size;
        let pieces: Vec<Bytes> = self
            .transfers
            .read(found, 0..size)
            .try_collect()
            .await
            .unwrap();
        pieces.concat().into()
    }

    async fn offset(&self, name: &str) -> u64 {
        let state = self
            .transfers
            .upload_state(user(), &self.share, "fil_1", name);
        state.await.unwrap().offset
    }

    async fn room(&self) -> (u64, u64) {
        let share = self.files.share(user(), &self.share).await.unwrap();
        (share.used, share.reserved)
    }

    /// The files in the folder of contents.
    fn stored(&self) -> Vec<PathBuf> {
        let entries = WalkDir::new(self.folder.path()).into_iter();
        let files = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            entry.file_type().is_file().then(|| entry.into_path())
        });
        files.collect()
    }

    async fn assert_nothing_left(&self) {
        assert_eq!(self.room().await, (0, 0));
        assert_eq!(self.stored(), Vec::<PathBuf>::new());
        for pattern in [
            "*:upload:*",
            "*:version:*",
            "*:unnamed",
            "*:garbage",
            "*:alias:*",
        ] {
            let keys = self.valkey.keys(pattern);
            assert!(keys.is_empty(), "{keys:?}");
        }
    }

    /// Lets the time of all uploads and of versions that no change has named be over.
    fn let_all_end(&self) {
        let mut connection = self.valkey.connection();
        let unnamed: Vec<String> = connection.zrange("sf1:{acme}:unnamed", 0, -1).unwrap();
        for name in unnamed {
            let () = connection.zadd("sf1:{acme}:unnamed", name, 1).unwrap();
        }
    }

    /// A worker that sweeps each second, until it is dropped.
    async fn sweeping(&self) -> DropGuard {
        let url = self.valkey.url();
        let queues = Queues::connect(&url, QueueConfig::default()).await.unwrap();
        let cache = Cache::new(&Valkey::at(&url).unwrap(), CacheConfig::default()).unwrap();
        let nowhere = "http://127.0.0.1:1".parse().unwrap();
        let convex = Client::new(ClientConfig::new(
            nowhere,
            "dev:test|0123456789abcdef".into(),
        ));
        let each_second = ["filesync-sweep", "filesync-orphans", "filesync-trim"];
        let each_second =
            each_second.map(|queue| (queue.to_owned(), Schedule::new("* * * * * *", queue)));
        let config = JobsConfig {
            concurrency: 1,
            losses: 3,
            worker_name: "worker".to_owned(),
            host: "test".to_owned(),
            schedules: each_second.to_vec(),
            device_idle: Duration::MAX,
            contents: SweepConfig {
                objects: Some(Objects::in_folder(self.folder.path()).unwrap()),
                ..SweepConfig::default()
            },
            documents: DocumentsConfig::default(),
            drain: Duration::ZERO,
            tail: None,
        };
        let files = files(convex.unwrap(), FilesVia::Functions);
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        tokio::spawn(async move {
            run_workers(queues, cache, files, config, token)
                .await
                .unwrap()
        });
        shutdown.drop_guard()
    }
}

async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !check().await {
        assert!(
            begun.elapsed() < PATIENCE,
            "it never came about that {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Makes a file or folder look as old as the sweep wants it.
fn let_age(path: &Path) {
    let long_ago = SystemTime::now() - Duration::from_secs(48 * 60 * 60);
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(long_ago).unwrap();
}

#[tokio::test]
async fn a_content_comes_out_as_it_went_in() {
    let world = World::start().await;
    for size in [0, 1, PART, 2 * PART + 123_456] {
        let bytes = bytes(size);
        let new = NewContent {
            sha256: Some(digest(&bytes)),
            body_sha256: Some(digest(&bytes)),
            ..world.content(None, size)
        };
        let version = world.upload(new, &bytes).await.unwrap();
        assert_eq!(version.size, size as u64);
        assert_eq!(version.sha256, sluice_objects::hex(&digest(&bytes)));
        assert!(world.read(&version.id).await == bytes, "{size}");
    }
}

#[tokio::test]
async fn an_upload_without_a_name_that_is_cut_leaves_nothing() {
    let world = World::start().await;
    let bytes = bytes(2 * PART + 1000);
    let new = world.content(None, 5 * PART);
    let error = world
        .transfers
        .upload(user().clone(), new, cut(&bytes))
        .await
        .unwrap_err();
    assert!(
        matches!(error, TransferError::Cut(at) if at == bytes.len() as u64),
        "{error}"
    );
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn an_upload_with_a_name_that_is_cut_goes_on_behind_its_last_part() {
    let world = World::start().await;
    let bytes = bytes(3 * PART + 1000);
    let new = world.content(Some("up_1"), bytes.len());
    let first = cut(&bytes.slice(..2 * PART + 1000));
    world
        .transfers
        .upload(user().clone(), new.clone(), first)
        .await
        .unwrap_err();
    assert_eq!(world.offset("up_1").await, 2 * PART_BYTES);
    assert_eq!(world.room().await, (0, bytes.len() as u64));

    let rest = bytes.slice(2 * PART..);
    let mut next = new.clone();
    next.upload.offset = 2 * PART_BYTES;
    next.sha256 = Some(digest(&bytes));
    next.body_sha256 = Some(digest(&rest));
    let version = world.upload(next, &rest).await.unwrap();
    assert_eq!(version.sha256, sluice_objects::hex(&digest(&bytes)));
    assert!(world.read(&version.id).await == bytes);

    // Sent again as the answer got lost.
    assert_eq!(world.upload(new, &bytes).await.unwrap(), version);
    assert_eq!(world.room().await, (bytes.len() as u64, 0));
}

#[tokio::test]
async fn an_upload_with_a_name_may_begin_anew_with_other_bytes() {
    let world = World::start().await;
    let before = bytes(2 * PART);
    let new = world.content(Some("up_1"), before.len());
    let broken = cut(&before.slice(..PART + 1000));
    world
        .transfers
        .upload(user().clone(), new.clone(), broken)
        .await
        .unwrap_err();
    let after: Bytes = before.iter().map(|byte| !byte).collect();
    let version = world.upload(new, &after).await.unwrap();
    assert!(world.read(&version.id).await == after);
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_digest_are_not_kept() {
    let world = World::start().await;
    let (bytes, other) = (bytes(PART + 1000), Some(digest(b"other")));
    for (sha256, body_sha256) in [(other, None), (None, other)] {
        for name in [None, Some("up_1")] {
            let new = NewContent {
                sha256,
                body_sha256,
                ..world.content(name, bytes.len())
            };
            let error = world.upload(new, &bytes).await.unwrap_err();
            assert!(matches!(error, TransferError::Digest), "{error}");
            world.assert_nothing_left().await;
        }
    }
}

#[tokio::test]
async fn a_body_that_is_longer_or_shorter_than_was_said_makes_no_version() {
    let world = World::start().await;
    let bytes = bytes(PART + 1000);
    let longer = world.upload(world.content(None, PART), &bytes).await;
    assert!(matches!(longer, Err(TransferError::Length)), "{longer:?}");
    world.assert_nothing_left().await;
    let shorter = world.upload(world.content(None, 2 * PART), &bytes).await;
    assert!(matches!(shorter, Err(TransferError::Cut(_))), "{shorter:?}");
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn a_content_that_is_too_long_is_refused_at_once() {
    let world = World::start().await;
    let new = world.content(None, 100_000_001);
    let endless = stream::pending::<Result<Bytes, Infallible>>();
    let error = world
        .transfers
        .upload(user().clone(), new, endless)
        .await
        .unwrap_err();
    assert!(
        matches!(error, TransferError::TooLarge(100_000_000)),
        "{error}"
    );
}

#[tokio::test]
async fn an_upload_goes_on_when_nobody_waits_for_it_and_no_more_than_so_many_at_a_time() {
    let world = World::start().await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let receiver = stream::poll_fn(move |context| receiver.poll_recv(context));
    let new = world.content(None, 10);
    let transfers = world.transfers.clone();
    let waiting =
        tokio::spawn(async move { transfers.upload(user().clone(), new, receiver).await });
    sender.send(Ok::<_, Infallible>(bytes(4))).unwrap();
    eventually("the upload is open", async || world.room().await.1 == 10).await;
    waiting.abort();
    let hold = |_| {
        let (transfers, new) = (world.transfers.clone(), world.content(None, 10));
        let endless = stream::pending::<Result<Bytes, Infallible>>();
        tokio::spawn(async move { transfers.upload(user().clone(), new, endless).await })
    };
    let _held: Vec<_> = (0..3).map(hold).collect();
    eventually("all places are taken", async || world.room().await.1 == 40).await;
    let error = world
        .upload(world.content(None, 1), &bytes(1))
        .await
        .unwrap_err();
    assert!(matches!(error, TransferError::Busy), "{error}");

    sender.send(Ok(bytes(6))).unwrap();
    drop(sender);
    eventually("the upload is a version", async || {
        world.room().await == (10, 30)
    })
    .await;
    world
        .upload(world.content(None, 1), &bytes(1))
        .await
        .unwrap();
}

#[tokio::test]
async fn giving_an_upload_up_removes_its_bytes_and_frees_its_room() {
    let world = World::start().await;
    let bytes = bytes(2 * PART);
    let new = world.content(Some("up_1"), 3 * PART);
    world
        .transfers
        .upload(user().clone(), new, cut(&bytes))
        .await
        .unwrap_err();
    assert!(!world.stored().is_empty());
    let aborted = world.transfers.abort(user(), &world.share, "fil_1", "up_1");
    aborted.await.unwrap();
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn sweeps_remove_what_was_given_up_and_nothing_else() {
    let world = World::start().await;
    let bytes = bytes(PART + 1000);
    // What was removed, but for its bytes, by a process that was killed then.
    let killed = world
        .upload(world.content(None, bytes.len()), &bytes)
        .await
        .unwrap();
    world.let_all_end();
    assert_eq!(world.files.expire_contents("acme", 10).await.unwrap(), 1);
    assert_eq!(world.stored().len(), 2);
    // What nobody goes on with, and what no change names.
    let new = world.content(Some("up_1"), 3 * PART);
    world
        .transfers
        .upload(user().clone(), new, cut(&bytes))
        .await
        .unwrap_err();
    let named = world
        .upload(world.content(None, bytes.len()), &bytes)
        .await
        .unwrap();
    world.let_all_end();
    // What is still under way, and what waits to be named.
    let new = world.content(Some("up_2"), 3 * PART);
    world
        .transfers
        .upload(user().clone(), new, cut(&bytes))
        .await
        .unwrap_err();
    let pending = world
        .upload(world.content(None, bytes.len()), &bytes)
        .await
        .unwrap();
    // Bytes of which nothing is known: old ones, young ones, and old ones of an unknown share.
    let folder = |share: &str, version: &str| {
        let folder = world.folder.path().join("acme").join(share).join(version);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    };
    let orphans = [
        (folder(&world.share, "ver_old"), true),
        (folder(&world.share, "ver_young"), false),
        (folder("shr_unknown", "ver_old"), true),
    ];
    for (folder, is_old) in &orphans {
        let part = folder.join("0000000000000000-1");
        std::fs::write(&part, "bytes").unwrap();
        if *is_old {
            let_age(&part);
        }
    }
    for part in world.stored() {
        if part
            .components()
            .any(|it| it.as_os_str() == pending.id.as_str())
        {
            let_age(&part);
        }
    }

    let _sweeping = world.sweeping().await;
    eventually("all is swept", async || {
        world.valkey.keys("*:garbage").is_empty() && !orphans[0].0.exists()
    })
    .await;
    for gone in [killed, named] {
        let found = world.transfers.find(user(), "fil_1", Some(&gone.id)).await;
        assert!(found.is_err(), "{gone:?}");
    }
    assert!(orphans[1].0.exists() && orphans[2].0.exists());
    assert!(world.read(&pending.id).await == bytes);
    assert_eq!(world.offset("up_2").await, PART_BYTES);
    let reserved = 3 * PART_BYTES;
    assert_eq!(world.room().await, (bytes.len() as u64, reserved));
    // The parts of the version and of the upload, and the two orphans.
    assert_eq!(world.stored().len(), 2 + 1 + 2);
}

#[tokio::test]
async fn what_is_left_of_a_deleted_share_goes_by_the_clock_with_its_bytes() {
    let world = World::start().await;
    let bytes = bytes(PART);
    let version = world
        .upload(world.content(None, PART), &bytes)
        .await
        .unwrap();
    world.name(&version.id).await;
    world
        .files
        .delete_share(user(), &world.share)
        .await
        .unwrap();
    let _sweeping = world.sweeping().await;
    eventually("nothing is left of the share", async || {
        let removed = world.files.removed_shares("acme").await.unwrap();
        removed.is_empty() && world.stored().is_empty()
    })
    .await;
    let nodes = format!("sf1:{{acme}}:share:{}:node:*", world.share);
    assert!(world.valkey.keys(&nodes).is_empty());
}
