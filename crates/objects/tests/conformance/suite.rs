//! The promises themselves.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use sluice_objects::{
    Content, ContentHash, ContentName, Layout, Objects, ObjectsError, Progress, Writer, Written,
};

/// Small enough for several parts, and no divisor of what they are filled with.
const PART: u64 = 1_000;

pub fn name(version: &str) -> ContentName {
    ContentName {
        tenant: "acme".to_owned(),
        share: "shr_1".to_owned(),
        version: version.to_owned(),
    }
}

/// Bytes of which no two stretches are alike.
pub fn bytes(length: usize) -> Bytes {
    (0..length).map(|at| (at * at / 7 + at) as u8).collect()
}

fn begin(objects: &Objects, name: ContentName) -> Writer {
    let layout = Layout::of(PART).resumed(0, 1);
    objects.write(name, layout, 0, ContentHash::default())
}

/// Writes in pieces of 300 bytes; returns the last progress.
async fn fill(writer: &mut Writer, bytes: &Bytes) -> Option<Progress> {
    let mut progress = None;
    for piece in bytes.chunks(300) {
        let piece = Bytes::copy_from_slice(piece);
        progress = writer.write(piece).await.unwrap().or(progress);
    }
    progress
}

pub async fn write(objects: &Objects, name: ContentName, bytes: &Bytes) -> Written {
    let mut writer = begin(objects, name);
    fill(&mut writer, bytes).await;
    writer.finish().await.unwrap()
}

pub async fn read(objects: &Objects, content: &Content, range: Range<u64>) -> Bytes {
    let pieces = objects.read(content.clone(), range);
    let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
    pieces.concat().into()
}

async fn read_all(objects: &Objects, content: &Content) -> Bytes {
    read(objects, content, 0..content.size).await
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hash = ContentHash::default();
    hash.update(bytes);
    hash.digest()
}

async fn listed(objects: &Objects, before: SystemTime) -> Vec<String> {
    let contents = objects.contents(before);
    let contents: Vec<ContentName> = contents.try_collect().await.unwrap();
    let mut versions: Vec<String> = contents.into_iter().map(|it| it.version).collect();
    versions.sort();
    versions
}

/// Later than anything that is written now, by any clock.
fn tomorrow() -> SystemTime {
    SystemTime::now() + Duration::from_secs(24 * 60 * 60)
}

pub async fn a_content_is_read_as_it_was_written(objects: Objects) {
    for length in [0, 1, 999, 1_000, 1_001, 2_000, 3_456] {
        let bytes = bytes(length);
        let written = write(&objects, name(&format!("ver_{length}")), &bytes).await;
        assert_eq!(written.content.size, length as u64);
        assert_eq!(written.sha256, digest(&bytes), "{length}");
        assert!(
            read_all(&objects, &written.content).await == bytes,
            "{length}"
        );
    }
}

pub async fn any_range_is_read(objects: Objects) {
    let bytes = bytes(3_456);
    let content = write(&objects, name("ver_1"), &bytes).await.content;
    for (start, end) in [
        (0, 0),
        (0, 1),
        (999, 1_000),
        (999, 1_001),
        (1_000, 2_000),
        (500, 3_100),
        (3_455, 3_456),
        (3_456, 3_456),
    ] {
        let found = read(&objects, &content, start..end).await;
        assert!(
            found == bytes[start as usize..end as usize],
            "{start}..{end}"
        );
    }
}

pub async fn an_upload_goes_on_in_another_process(objects: Objects) {
    let bytes = bytes(5_500);
    let mut first = begin(&objects, name("ver_1"));
    fill(&mut first, &bytes.slice(..3_700)).await;
    let progress = first.settle().await.unwrap().unwrap();
    assert_eq!(progress.offset, 3_000);
    let layout = first.layout().to_string();
    drop(first);

    let layout: Layout = layout.parse().unwrap();
    let mut second = objects.write(
        name("ver_1"),
        layout.resumed(progress.offset, 2),
        progress.offset,
        ContentHash::resume(&progress.hash).unwrap(),
    );
    fill(&mut second, &bytes.slice(3_000..)).await;
    let written = second.finish().await.unwrap();
    assert_eq!(written.content.layout.to_string(), "1000:0.1,3.2");
    assert_eq!(written.sha256, digest(&bytes));
    assert!(read_all(&objects, &written.content).await == bytes);
}

pub async fn a_part_of_a_former_writer_that_comes_in_late_changes_nothing(objects: Objects) {
    let bytes = bytes(2_500);
    let mut former = begin(&objects, name("ver_1"));
    fill(&mut former, &bytes.slice(..1_000)).await;
    let progress = former.settle().await.unwrap().unwrap();

    let layout = former.layout().clone().resumed(progress.offset, 2);
    let hash = ContentHash::resume(&progress.hash).unwrap();
    let mut next = objects.write(name("ver_1"), layout, progress.offset, hash);
    fill(&mut next, &bytes.slice(1_000..)).await;
    let written = next.finish().await.unwrap();

    fill(&mut former, &Bytes::from(vec![0; 1_500])).await;
    former.finish().await.unwrap();
    assert!(read_all(&objects, &written.content).await == bytes);
}

pub async fn what_did_not_fill_a_part_is_not_durable(objects: Objects) {
    let mut writer = begin(&objects, name("ver_1"));
    assert_eq!(fill(&mut writer, &bytes(999)).await, None);
    assert_eq!(writer.settle().await.unwrap(), None);
    drop(writer);
    assert!(listed(&objects, tomorrow()).await.is_empty());
}

pub async fn deleting_takes_all_parts_and_nothing_else(objects: Objects) {
    let bytes = bytes(2_500);
    let gone = write(&objects, name("ver_1"), &bytes).await.content;
    let mut other = objects.write(
        name("ver_1"),
        Layout::of(PART).resumed(0, 7),
        0,
        ContentHash::default(),
    );
    fill(&mut other, &bytes.slice(..1_000)).await;
    other.settle().await.unwrap();
    let stays = write(&objects, name("ver_10"), &bytes).await.content;

    assert_eq!(objects.delete(&gone.name).await.unwrap(), 4);
    assert_eq!(objects.delete(&gone.name).await.unwrap(), 0);
    assert_eq!(listed(&objects, tomorrow()).await, ["ver_10"]);
    assert!(read_all(&objects, &stays).await == bytes);
}

pub async fn contents_are_listed_once_and_by_age(objects: Objects) {
    for version in ["ver_1", "ver_2", "ver_3"] {
        write(&objects, name(version), &bytes(2_500)).await;
    }
    assert_eq!(
        listed(&objects, tomorrow()).await,
        ["ver_1", "ver_2", "ver_3"]
    );
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 60 * 60);
    assert!(listed(&objects, yesterday).await.is_empty());
}

pub async fn a_missing_part_is_an_error_after_what_is_there(objects: Objects) {
    let bytes = bytes(1_500);
    let mut content = write(&objects, name("ver_1"), &bytes).await.content;
    content.size = 2_500;
    let pieces: Vec<_> = objects.read(content.clone(), 0..2_500).collect().await;
    let (last, pieces) = pieces.split_last().unwrap();
    let pieces: Vec<&Bytes> = pieces.iter().map(|piece| piece.as_ref().unwrap()).collect();
    let found: Vec<u8> = pieces.into_iter().flatten().copied().collect();
    assert!(found == bytes, "{} bytes", found.len());
    assert!(matches!(last, Err(ObjectsError::Missing)), "{last:?}");
}

pub async fn tenants_of_any_name_are_kept_apart(objects: Objects) {
    let tenants = [
        "a",
        "A",
        "a/b",
        "..",
        "a.b",
        "{x}:%2F#1",
        "Ünïcode",
        "a\\b\u{1}",
    ];
    let mut contents = Vec::new();
    for (place, tenant) in tenants.into_iter().enumerate() {
        let name = ContentName {
            tenant: tenant.to_owned(),
            ..name("ver_1")
        };
        let bytes = bytes(1_000 + place);
        contents.push((write(&objects, name, &bytes).await.content, bytes));
    }
    for (content, bytes) in &contents {
        assert!(read_all(&objects, content).await == bytes, "{content:?}");
    }
    let found: Vec<ContentName> = objects.contents(tomorrow()).try_collect().await.unwrap();
    assert_eq!(found.len(), tenants.len());
    for tenant in tenants {
        assert!(found.iter().any(|it| it.tenant == tenant), "{tenant}");
    }
}

pub async fn several_contents_are_written_at_once(objects: Objects) {
    let writing = (0..8).map(|number| {
        let objects = objects.clone();
        tokio::spawn(async move {
            let bytes = bytes(2_000 + number);
            let version = format!("ver_{number}");
            let written = write(&objects, name(&version), &bytes).await;
            assert!(read_all(&objects, &written.content).await == bytes);
        })
    });
    for written in writing.collect::<Vec<_>>() {
        written.await.unwrap();
    }
}

pub async fn a_check_leaves_nothing_behind(objects: Objects) {
    let kept = write(&objects, name("ver_kept"), &bytes(10)).await;
    objects.check().await.unwrap();
    assert_eq!(listed(&objects, tomorrow()).await.len(), 1);
    assert_eq!(read_all(&objects, &kept.content).await, bytes(10));
}
