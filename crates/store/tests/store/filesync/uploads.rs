//! Uploads, the versions that they become, and the end of both.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Commands;
use sluice_store::filesync::{
    Caller, FilesyncError, Garbage, NewShare, NewUpload, Opened, Retention, ShareSettings, Upload,
    Version,
};

use super::support::{Store, caller, delete, file, update};

const MB: u64 = 1_000_000;

fn new(file: &str, name: Option<&str>, size: u64) -> NewUpload {
    NewUpload {
        file: file.into(),
        name: name.map(Into::into),
        size,
        offset: 0,
        mime: "text/plain".into(),
    }
}

/// Who owns the shares.
fn user() -> &'static Caller {
    static USER: LazyLock<Caller> = LazyLock::new(|| caller("usr_1"));
    &USER
}

impl Store {
    async fn share_with_quota(&self, quota: u64) -> String {
        let share = NewShare {
            name: "Plans".into(),
            settings: ShareSettings {
                quota: Some(quota),
                ..ShareSettings::default()
            },
        };
        self.files.create_share(user(), &share).await.unwrap().id
    }

    async fn open(&self, share: &str, new: &NewUpload) -> Result<Upload, FilesyncError> {
        match self.files.open_upload(user(), share, new).await? {
            Opened::Open(upload) => Ok(upload),
            Opened::Made(version) => panic!("{version:?}"),
        }
    }

    async fn advance(&self, upload: &Upload, offset: u64) -> Result<(), FilesyncError> {
        let hash = [0, 255, 10];
        let advanced = self
            .files
            .advance_upload(user(), upload, offset, "parts", &hash);
        advanced.await
    }

    async fn finish(&self, upload: &Upload) -> Result<(), FilesyncError> {
        self.files
            .finish_upload(user(), upload, "parts", "aa")
            .await
    }

    /// A version that an upload has become.
    async fn uploaded(&self, share: &str, file: &str, size: u64) -> String {
        let upload = self.open(share, &new(file, None, size)).await.unwrap();
        // No two have the same content.
        let hash = format!("hash of {}", upload.version);
        let finished = self.files.finish_upload(user(), &upload, "parts", &hash);
        finished.await.unwrap();
        upload.version
    }

    async fn find(&self, caller: &Caller, file: &str, version: Option<&str>) -> Option<Version> {
        match self.files.version(caller, file, version).await {
            Err(FilesyncError::NotFound(_)) => None,
            found => Some(found.unwrap()),
        }
    }

    /// Bytes that the share's versions use, and that open uploads reserve.
    async fn room(&self, share: &str) -> (u64, u64) {
        let share = self.files.share(user(), share).await.unwrap();
        (share.used, share.reserved)
    }

    async fn garbage(&self) -> Vec<Garbage> {
        self.files.garbage("acme", 100).await.unwrap()
    }

    /// Lets the time of a content be over.
    fn let_end(&self, share: &str, version: &str) {
        let name = format!("{share} {version}");
        let mut connection = self.server.connection();
        let () = connection.zadd("sf1:{acme}:unnamed", name, 1).unwrap();
    }
}

#[tokio::test]
async fn of_three_uploads_under_a_quota_of_one_one_passes_and_an_abort_makes_room() {
    let store = Store::start();
    let share = store.share_with_quota(45 * MB).await;
    let upload = store
        .open(&share, &new("fil_1", None, 42 * MB))
        .await
        .unwrap();
    for file in ["fil_2", "fil_3"] {
        let error = store.open(&share, &new(file, None, 42 * MB)).await;
        assert!(
            matches!(error, Err(FilesyncError::QuotaExceeded)),
            "{error:?}"
        );
    }
    assert_eq!(store.room(&share).await, (0, 42 * MB));
    let version = &upload.version;
    let ended = store.files.end_upload(user(), &share, version, None);
    assert!(ended.await.unwrap());
    assert_eq!(store.room(&share).await, (0, 0));
    store
        .open(&share, &new("fil_2", None, 45 * MB))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_reserved_is_used_once_there_is_a_version() {
    let store = Store::start();
    let share = store.share_with_quota(100).await;
    store.uploaded(&share, "fil_1", 60).await;
    assert_eq!(store.room(&share).await, (60, 0));
    let error = store.open(&share, &new("fil_2", None, 41)).await;
    assert!(
        matches!(error, Err(FilesyncError::QuotaExceeded)),
        "{error:?}"
    );
    store.open(&share, &new("fil_2", None, 40)).await.unwrap();
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_left() {
    let store = Store::start();
    let share = store.share().await;
    let begun = new("fil_1", Some("up_1"), 100);
    let first = store.open(&share, &begun).await.unwrap();
    assert_eq!(
        (first.offset, &*first.parts, &*first.hash),
        (0, "", &b""[..])
    );
    store.advance(&first, 40).await.unwrap();

    let state = store.files.upload(user(), &share, "fil_1", "up_1");
    let state = state.await.unwrap();
    assert_eq!((state.offset, state.size, state.is_made), (40, 100, false));
    let resumed = NewUpload {
        offset: 40,
        ..begun.clone()
    };
    let second = store.open(&share, &resumed).await.unwrap();
    assert_eq!(second.version, first.version);
    assert_eq!(
        (&*second.parts, &*second.hash),
        ("parts", &[0, 255, 10][..])
    );
    assert_eq!(store.room(&share).await, (0, 100));

    let elsewhere = NewUpload {
        offset: 50,
        ..begun.clone()
    };
    let error = store.open(&share, &elsewhere).await.unwrap_err();
    assert!(
        matches!(error, FilesyncError::UploadElsewhere(40)),
        "{error}"
    );
    // Who asked for another place has not taken it over.
    store.advance(&second, 80).await.unwrap();

    let anew = store.open(&share, &begun).await.unwrap();
    assert_eq!((anew.offset, &*anew.parts), (0, ""));
}

#[tokio::test]
async fn a_writer_whose_upload_was_taken_over_can_do_nothing_with_it() {
    let store = Store::start();
    let share = store.share().await;
    let begun = new("fil_1", Some("up_1"), 100);
    let former = store.open(&share, &begun).await.unwrap();
    let next = store.open(&share, &begun).await.unwrap();
    assert_ne!(former.writer, next.writer);
    let outrun = [
        store.advance(&former, 40).await.unwrap_err(),
        store.finish(&former).await.unwrap_err(),
        store
            .files
            .end_upload(user(), &share, &former.version, Some(former.writer))
            .await
            .unwrap_err(),
    ];
    for error in outrun {
        assert!(matches!(error, FilesyncError::UploadOutrun), "{error}");
    }
    store.finish(&next).await.unwrap();
}

#[tokio::test]
async fn a_name_is_of_one_file_and_length() {
    let store = Store::start();
    let share = store.share().await;
    let upload = store
        .open(&share, &new("fil_1", Some("up_1"), 100))
        .await
        .unwrap();
    let others = [("fil_2", 100), ("fil_1", 101)];
    for (file, size) in others {
        let error = store
            .open(&share, &new(file, Some("up_1"), size))
            .await
            .unwrap_err();
        assert!(matches!(error, FilesyncError::UploadReused), "{error}");
    }
    store.finish(&upload).await.unwrap();
    for (file, size) in others {
        let error = store
            .open(&share, &new(file, Some("up_1"), size))
            .await
            .unwrap_err();
        assert!(matches!(error, FilesyncError::UploadReused), "{error}");
    }
}

#[tokio::test]
async fn an_upload_that_was_finished_is_answered_as_it_was() {
    let store = Store::start();
    let share = store.share().await;
    let begun = new("fil_1", Some("up_1"), 100);
    let upload = store.open(&share, &begun).await.unwrap();
    store.finish(&upload).await.unwrap();
    let resumed = NewUpload {
        offset: 40,
        ..begun.clone()
    };
    for again in [&begun, &resumed] {
        let Opened::Made(version) = store
            .files
            .open_upload(user(), &share, again)
            .await
            .unwrap()
        else {
            panic!("the upload was opened again");
        };
        assert_eq!(version.id, upload.version);
        assert_eq!((version.size, &*version.sha256), (100, "aa"));
    }
    let state = store.files.upload(user(), &share, "fil_1", "up_1");
    let state = state.await.unwrap();
    assert_eq!((state.offset, state.is_made), (100, true));
    assert_eq!(store.room(&share).await, (100, 0));
    // Ended by its name, the version stays.
    let ended = store
        .files
        .end_upload(user(), &share, &upload.version, None);
    assert!(!ended.await.unwrap());
    assert!(
        store
            .find(user(), "fil_1", Some(&upload.version))
            .await
            .is_some()
    );
}

#[tokio::test]
async fn each_step_may_be_sent_twice() {
    let store = Store::start();
    let share = store.share().await;
    let upload = store
        .open(&share, &new("fil_1", Some("up_1"), 100))
        .await
        .unwrap();
    for _ in 0..2 {
        store.advance(&upload, 40).await.unwrap();
    }
    for _ in 0..2 {
        store.finish(&upload).await.unwrap();
    }
    assert_eq!(store.room(&share).await, (100, 0));
    let other = store.open(&share, &new("fil_2", None, 10)).await.unwrap();
    let end = async || {
        store
            .files
            .end_upload(user(), &share, &other.version, None)
            .await
    };
    assert!(end().await.unwrap());
    assert!(!end().await.unwrap());
    assert_eq!(store.room(&share).await, (100, 0));
}

#[tokio::test]
async fn uploads_need_the_right_to_write_at_each_step() {
    use sluice_store::filesync::{Grantee, Level};
    let store = Store::start();
    let share = store.share().await;
    let (begun, other) = (new("fil_1", Some("up_1"), 100), caller("usr_2"));
    let open = async || store.files.open_upload(&other, &share, &begun).await;
    assert!(matches!(
        open().await,
        Err(FilesyncError::NotFound("share"))
    ));
    let grantee = Grantee::User("usr_2".into());
    let grant = async |level| {
        store
            .files
            .grant(user(), &share, &grantee, level)
            .await
            .unwrap()
    };
    grant(Level::Read).await;
    assert!(matches!(open().await, Err(FilesyncError::Forbidden)));
    grant(Level::Write).await;
    let Opened::Open(upload) = open().await.unwrap() else {
        panic!("made");
    };
    grant(Level::Read).await;
    let advanced = store
        .files
        .advance_upload(&other, &upload, 40, "", &[])
        .await;
    assert!(
        matches!(advanced, Err(FilesyncError::Forbidden)),
        "{advanced:?}"
    );
    let finished = store.files.finish_upload(&other, &upload, "", "aa").await;
    assert!(
        matches!(finished, Err(FilesyncError::Forbidden)),
        "{finished:?}"
    );
    // What it reserved can be freed all the same.
    let ended = store
        .files
        .end_upload(&other, &share, &upload.version, None);
    assert!(ended.await.unwrap());
}

#[tokio::test]
async fn uploads_of_one_name_are_each_user_s_own() {
    let store = Store::start();
    let share = store.share().await;
    let begun = new("fil_1", Some("up_1"), 100);
    let upload = store.open(&share, &begun).await.unwrap();
    let admin = Caller {
        is_admin: true,
        ..caller("usr_2")
    };
    let seen = store.files.upload(&admin, &share, "fil_1", "up_1").await;
    assert!(
        matches!(seen, Err(FilesyncError::NotFound("upload"))),
        "{seen:?}"
    );
    let ended = store
        .files
        .end_upload(&admin, &share, &upload.version, None);
    assert!(!ended.await.unwrap());
    let Opened::Open(other) = store
        .files
        .open_upload(&admin, &share, &begun)
        .await
        .unwrap()
    else {
        panic!("made");
    };
    assert_ne!(other.version, upload.version);
    store.finish(&upload).await.unwrap();
}

#[tokio::test]
async fn a_version_is_its_uploader_s_until_a_change_names_it() {
    use sluice_store::filesync::{Grantee, Level};
    let store = Store::start();
    let share = store.share().await;
    let reader = caller("usr_2");
    let grantee = Grantee::User("usr_2".into());
    store
        .files
        .grant(user(), &share, &grantee, Level::Read)
        .await
        .unwrap();

    let version = store.uploaded(&share, "fil_1", 100).await;
    let found = store.find(user(), "fil_1", Some(&version)).await.unwrap();
    let hash = format!("hash of {version}");
    assert_eq!((found.size, &found.sha256), (100, &hash));
    assert_eq!(
        (&*found.share, &*found.mime, &*found.parts),
        (&*share, "text/plain", "parts")
    );
    assert_eq!(store.find(user(), "fil_1", None).await, None);
    assert_eq!(store.find(&reader, "fil_1", Some(&version)).await, None);

    let item = store
        .one(&share, "a", None, 0, file("fil_1", "/a.txt", &version))
        .await;
    assert_eq!(item["outcome"], "applied", "{item}");
    for caller in [user(), &reader] {
        assert_eq!(
            store.find(caller, "fil_1", Some(&version)).await,
            Some(found.clone())
        );
        assert_eq!(store.find(caller, "fil_1", None).await, Some(found.clone()));
    }
    assert_eq!(store.find(&caller("usr_3"), "fil_1", None).await, None);
}

#[tokio::test]
async fn a_version_of_another_file_or_share_is_not_there() {
    let store = Store::start();
    let (share, other) = (store.share().await, store.share().await);
    let version = store.uploaded(&share, "fil_1", 100).await;
    store.uploaded(&share, "fil_2", 100).await;
    store.uploaded(&other, "fil_3", 100).await;
    for file in ["fil_2", "fil_3", "fil_4", "root", "", "a/b"] {
        assert_eq!(
            store.find(user(), file, Some(&version)).await,
            None,
            "{file}"
        );
    }
}

#[tokio::test]
async fn versions_of_a_file_are_listed_and_outlive_it() {
    let store = Store::start();
    let share = store.share().await;
    let first = store.uploaded(&share, "fil_1", 1).await;
    store
        .one(&share, "a", None, 0, file("fil_1", "/a.txt", &first))
        .await;
    let second = store.uploaded(&share, "fil_1", 2).await;
    store
        .one(&share, "a", None, 0, update("fil_1", &second, &first))
        .await;
    store.uploaded(&share, "fil_1", 3).await;
    let list = async |caller: &Caller| {
        let versions = store.files.versions(caller, "fil_1", 100).await?;
        let shown = versions.into_iter().map(|it| (it.id, it.size, it.user));
        Ok::<_, FilesyncError>(shown.collect::<Vec<_>>())
    };
    let expected = [
        (second.clone(), 2, "usr_1".to_owned()),
        (first.clone(), 1, "usr_1".to_owned()),
    ];
    assert_eq!(list(user()).await.unwrap(), expected);
    assert!(matches!(
        list(&caller("usr_2")).await,
        Err(FilesyncError::NotFound(_))
    ));

    store
        .one(&share, "a", None, 0, delete("file", "fil_1"))
        .await;
    assert_eq!(list(user()).await.unwrap(), expected);
    assert_eq!(store.find(user(), "fil_1", None).await, None);
    assert!(store.find(user(), "fil_1", Some(&first)).await.is_some());
}

#[tokio::test]
async fn an_upload_without_progress_ends_and_frees_what_it_reserved() {
    let store = Store::start();
    let share = store.share().await;
    let begun = new("fil_1", Some("up_1"), 100);
    let upload = store.open(&share, &begun).await.unwrap();
    assert_eq!(store.files.expire_contents("acme", 10).await.unwrap(), 0);
    store.let_end(&share, &upload.version);
    assert_eq!(store.files.expire_contents("acme", 10).await.unwrap(), 1);
    assert_eq!(store.room(&share).await, (0, 0));
    let garbage = Garbage {
        share: share.clone(),
        version: upload.version.clone(),
    };
    assert_eq!(store.garbage().await, std::slice::from_ref(&garbage));
    let late = [
        store.advance(&upload, 40).await.unwrap_err(),
        store.finish(&upload).await.unwrap_err(),
    ];
    for error in late {
        assert!(
            matches!(error, FilesyncError::NotFound("upload")),
            "{error}"
        );
    }
    store.files.forget_garbage("acme", &garbage).await.unwrap();
    assert!(store.garbage().await.is_empty());
    let anew = store.open(&share, &begun).await.unwrap();
    assert_ne!(anew.version, upload.version);
}

#[tokio::test]
async fn a_version_that_no_change_names_in_time_ends() {
    let store = Store::start();
    let share = store.share().await;
    let version = store.uploaded(&share, "fil_1", 100).await;
    store.let_end(&share, &version);
    assert_eq!(store.files.expire_contents("acme", 10).await.unwrap(), 1);
    assert_eq!(store.room(&share).await, (0, 0));
    assert_eq!(store.garbage().await[0].version, version);
    assert_eq!(store.find(user(), "fil_1", Some(&version)).await, None);
    assert!(store.server.keys("*home:fil_1").is_empty());
}

#[tokio::test]
async fn a_version_that_ends_leaves_the_others_of_its_file() {
    let store = Store::start();
    let share = store.share().await;
    let ended = store.uploaded(&share, "fil_1", 0).await;
    let stays = store.uploaded(&share, "fil_1", 100).await;
    store.let_end(&share, &ended);
    assert_eq!(store.files.expire_contents("acme", 10).await.unwrap(), 1);
    assert_eq!(store.find(user(), "fil_1", Some(&ended)).await, None);
    assert!(store.find(user(), "fil_1", Some(&stays)).await.is_some());
    assert_eq!(store.room(&share).await, (100, 0));
}

#[tokio::test]
async fn what_a_change_has_named_does_not_end() {
    let store = Store::start();
    let share = store.share().await;
    let version = store.uploaded(&share, "fil_1", 100).await;
    store
        .one(&share, "a", None, 0, file("fil_1", "/a.txt", &version))
        .await;
    assert!(store.server.keys("*:unnamed").is_empty());
    store.let_end(&share, &version);
    assert_eq!(store.files.expire_contents("acme", 10).await.unwrap(), 1);
    assert!(store.garbage().await.is_empty() && store.server.keys("*:unnamed").is_empty());
    assert!(store.find(user(), "fil_1", None).await.is_some());
    assert_eq!(store.room(&share).await, (100, 0));
}

#[tokio::test]
async fn nothing_refers_to_what_is_neither_an_upload_nor_a_version() {
    let store = Store::start();
    let share = store.share().await;
    let upload = store.open(&share, &new("fil_1", None, 1)).await.unwrap();
    let version = store.uploaded(&share, "fil_1", 1).await;
    let asked = [upload.version, version, "ver_lost".to_owned()];
    let unknown = async |tenant, share| {
        let unknown = store.files.unknown_contents(tenant, share, &asked);
        unknown.await.unwrap()
    };
    assert_eq!(unknown("acme", &share).await, ["ver_lost"]);
    // Of what is not known as a whole, nothing is said.
    assert!(unknown("acme", "shr_other").await.is_empty());
    assert!(unknown("other", &share).await.is_empty());
}

#[tokio::test]
async fn a_version_goes_once_its_file_has_held_another_for_long() {
    let store = Store::start();
    let share = store.share().await;
    let first = store.uploaded(&share, "fil_1", 1).await;
    store
        .one(&share, "a", None, 0, file("fil_1", "/a.txt", &first))
        .await;
    let second = store.uploaded(&share, "fil_1", 2).await;
    store
        .one(&share, "a", None, 0, update("fil_1", &second, &first))
        .await;
    let trim = async |version_age| {
        let retention = Retention {
            version_age,
            ..Retention::default()
        };
        store.files.trim("acme", &share, &retention).await.unwrap();
        let versions = store.files.versions(user(), "fil_1", 100).await.unwrap();
        versions.into_iter().map(|it| it.id).collect::<Vec<_>>()
    };
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(trim(day).await, [second.clone(), first.clone()]);
    assert_eq!(trim(Duration::ZERO).await, std::slice::from_ref(&second));
    assert_eq!(store.garbage().await[0].version, first);
    assert_eq!(store.room(&share).await, (2, 0));
    assert!(store.find(user(), "fil_1", None).await.is_some());
}

#[tokio::test]
async fn a_version_that_was_brought_back_stays() {
    let store = Store::start();
    let share = store.share().await;
    let first = store.uploaded(&share, "fil_1", 1).await;
    store
        .one(&share, "a", None, 0, file("fil_1", "/a.txt", &first))
        .await;
    let second = store.uploaded(&share, "fil_1", 2).await;
    store
        .one(&share, "a", None, 0, update("fil_1", &second, &first))
        .await;
    store
        .one(&share, "a", None, 0, update("fil_1", &first, &second))
        .await;
    let retention = Retention {
        version_age: Duration::ZERO,
        ..Retention::default()
    };
    store.files.trim("acme", &share, &retention).await.unwrap();
    let found = store.find(user(), "fil_1", None).await.unwrap();
    assert_eq!(found.id, first);
    assert_eq!(store.find(user(), "fil_1", Some(&second)).await, None);
}

#[tokio::test]
async fn of_more_than_100_versions_of_a_file_the_oldest_go() {
    let store = Store::start();
    let share = store.share().await;
    let mut version = store.uploaded(&share, "fil_1", 1).await;
    store
        .one(&share, "a", None, 0, file("fil_1", "/a.txt", &version))
        .await;
    for _ in 0..102 {
        let next = store.uploaded(&share, "fil_1", 1).await;
        store
            .one(&share, "a", None, 0, update("fil_1", &next, &version))
            .await;
        version = next;
    }
    store
        .files
        .trim("acme", &share, &Retention::default())
        .await
        .unwrap();
    let versions = store.files.versions(user(), "fil_1", 1_000).await.unwrap();
    assert_eq!((versions.len(), &versions[0].id), (100, &version));
    assert_eq!(store.room(&share).await, (100, 0));
}
