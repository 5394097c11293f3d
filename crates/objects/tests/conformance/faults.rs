//! What is promised when the store fails, or a process dies.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use sluice_objects::{Content, ContentHash, Layout, Objects, ObjectsError};
use sluice_test_support::TestS3;
use tempfile::TempDir;

use crate::suite::{bytes, name, read, write};

/// Later than any file of a test.
fn tomorrow() -> SystemTime {
    SystemTime::now() + Duration::from_secs(24 * 60 * 60)
}

fn folder() -> (TempDir, Objects) {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::in_folder(folder.path()).unwrap();
    (folder, objects)
}

/// A server on which each of so many requests fails, and later ones do not; counts all of them.
fn failing(requests: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            // The body, which is one byte in each of these tests.
            stream.read_exact(&mut [0]).unwrap();
            let status = match seen.fetch_add(1, Ordering::SeqCst) < requests {
                true => "503 Service Unavailable",
                false => "200 OK\r\netag: \"1\"",
            };
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, count)
}

fn at(endpoint: &str) -> Objects {
    let options = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "test"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Objects::open(&"s3://contents".parse().unwrap(), &options).unwrap()
}

#[tokio::test]
async fn a_call_that_fails_is_made_again() {
    let (url, count) = failing(2);
    write(&at(&url), name("ver_1"), &bytes(1)).await;
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_call_that_goes_on_failing_is_given_up() {
    let (url, count) = failing(usize::MAX);
    let layout = Layout::default().resumed(0, 1);
    let mut writer = at(&url).write(name("ver_1"), layout, 0, ContentHash::default());
    writer.write(bytes(1)).await.unwrap();
    let error = writer.finish().await.unwrap_err();
    assert!(matches!(error, ObjectsError::Store(_)), "{error}");
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_of_each_call() {
    // Nothing listens there.
    let objects = at("http://127.0.0.1:1");
    let content = Content {
        name: name("ver_1"),
        size: 2_500,
        layout: Layout::of(1_000).resumed(0, 1),
    };
    let pieces: Vec<_> = objects.read(content.clone(), 0..2_500).collect().await;
    assert!(
        matches!(pieces[..], [Err(ObjectsError::Store(_))]),
        "{pieces:?}"
    );
    objects.delete(&content.name).await.unwrap_err();
    let mut contents = Box::pin(objects.contents(tomorrow()));
    contents.next().await.unwrap().unwrap_err();
}

pub async fn keys_that_are_refused_are_an_error_that_does_not_tell_them(s3: &TestS3) {
    let mut options = s3.options();
    for (name, value) in &mut options {
        if name == "AWS_SECRET_ACCESS_KEY" {
            *value = "another".to_owned();
        }
    }
    let objects = Objects::open(&s3.url("").parse().unwrap(), &options).unwrap();
    let error = objects.delete(&name("ver_1")).await.unwrap_err();
    assert!(matches!(error, ObjectsError::Store(_)), "{error}");
    assert!(!error.to_string().contains("another"), "{error}");
}

#[tokio::test]
async fn what_a_killed_write_has_left_goes_once_it_is_old() {
    let (folder, objects) = folder();
    let stays = write(&objects, name("ver_1"), &bytes(1_500)).await.content;
    let cut = folder.path().join("acme/shr_1/ver_2");
    std::fs::create_dir_all(&cut).unwrap();
    std::fs::write(cut.join("0000000000000000-1#1"), "half a part").unwrap();
    std::fs::create_dir_all(folder.path().join("acme/shr_2/ver_3")).unwrap();

    let an_hour_ago = SystemTime::now() - Duration::from_secs(60 * 60);
    assert_eq!(objects.delete_leftovers(an_hour_ago).await.unwrap(), 0);
    assert!(cut.exists());
    objects.delete_leftovers(tomorrow()).await.unwrap();
    // A folder that something was removed from is as young as that.
    objects.delete_leftovers(tomorrow()).await.unwrap();
    assert!(!cut.exists() && !folder.path().join("acme/shr_2").exists());
    assert!(read(&objects, &stays, 0..1_500).await == bytes(1_500));
}

#[tokio::test]
async fn folders_go_with_what_was_in_them() {
    let (folder, objects) = folder();
    let content = write(&objects, name("ver_1"), &bytes(1_500)).await.content;
    objects.delete(&content.name).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_reader_that_goes_ends_reading() {
    let (_folder, objects) = folder();
    let content = write(&objects, name("ver_1"), &bytes(10_000)).await.content;
    let mut pieces = Box::pin(objects.read(content.clone(), 0..10_000));
    pieces.next().await.unwrap().unwrap();
    drop(pieces);
    assert_eq!(objects.delete(&content.name).await.unwrap(), 10);
}
