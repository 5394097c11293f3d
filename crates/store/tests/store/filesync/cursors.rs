use sluice_store::filesync::{CursorFault, FilesyncError, Grantee, Level};

use super::support::{Store, caller};

/// Appends entries to the log of a share by letting others in.
async fn grow(store: &Store, share: &str, times: usize) {
    let ann = caller("ann");
    for _ in 0..times {
        let head = store.files.share(&ann, share).await.unwrap().head;
        let guest = Grantee::User(format!("guest{head}"));
        let granted = store.files.grant(&ann, share, &guest, Level::Read);
        granted.await.unwrap();
    }
}

#[tokio::test]
async fn a_device_without_a_cursor_begins_at_the_head_and_needs_a_snapshot_until_it_moves() {
    let (store, ann) = (Store::start(), caller("ann"));
    let share = store.share_of(&ann).await;
    grow(&store, &share, 3).await;
    store.register(&ann, "d").await;
    for _ in 0..2 {
        let status = store.files.device_status(&ann, "d", &share).await.unwrap();
        assert_eq!((status.cursor.position, status.cursor.moved_at), (4, None));
        assert!(status.needs_snapshot && !status.has_conflicts);
        assert_eq!(status.pending, 0);
    }
    grow(&store, &share, 2).await;
    let status = store.files.device_status(&ann, "d", &share).await.unwrap();
    assert_eq!((status.pending, status.needs_snapshot), (2, true));

    let moved = store.files.move_cursor(&ann, "d", &share, 5).await.unwrap();
    assert_eq!(moved.position, 5);
    let status = store.files.device_status(&ann, "d", &share).await.unwrap();
    assert_eq!(status.cursor, moved);
    assert_eq!((status.pending, status.needs_snapshot), (1, false));
}

#[tokio::test]
async fn a_cursor_never_moves_back_nor_past_the_head() {
    let (store, ann) = (Store::start(), caller("ann"));
    let share = store.share_of(&ann).await;
    grow(&store, &share, 3).await;
    store.register(&ann, "d").await;
    let there = store.files.move_cursor(&ann, "d", &share, 3).await.unwrap();
    for position in [0, 2] {
        let moved = store.files.move_cursor(&ann, "d", &share, position).await;
        assert_eq!(moved.unwrap(), there);
    }
    for position in [5, u64::MAX] {
        let error = store.files.move_cursor(&ann, "d", &share, position).await;
        let fault = FilesyncError::CursorInvalid(CursorFault::HistoryChanged);
        assert_eq!(error.unwrap_err().to_string(), fault.to_string());
    }
    let status = store.files.device_status(&ann, "d", &share).await.unwrap();
    assert_eq!(status.cursor, there);
}

#[tokio::test]
async fn a_position_that_the_log_does_not_reach_back_to_is_expired() {
    let (store, ann) = (Store::start(), caller("ann"));
    let share = store.share_of(&ann).await;
    grow(&store, &share, 5).await;
    store.register(&ann, "d").await;
    store.set_field(&format!("share:{share}"), "floor", "4");
    let error = store.files.move_cursor(&ann, "d", &share, 2).await;
    let fault = FilesyncError::CursorInvalid(CursorFault::Expired);
    assert_eq!(error.unwrap_err().to_string(), fault.to_string());
    assert_eq!(
        store
            .files
            .move_cursor(&ann, "d", &share, 3)
            .await
            .unwrap()
            .position,
        3
    );
}

#[tokio::test]
async fn a_cursor_of_a_history_that_is_lost_is_none() {
    let (store, ann) = (Store::start(), caller("ann"));
    let share = store.share_of(&ann).await;
    grow(&store, &share, 3).await;
    store.register(&ann, "d").await;
    store.files.move_cursor(&ann, "d", &share, 4).await.unwrap();
    store.set_field(&format!("share:{share}"), "head", "2");
    let status = store.files.device_status(&ann, "d", &share).await.unwrap();
    assert_eq!((status.cursor.position, status.needs_snapshot), (2, true));
}

#[tokio::test]
async fn a_deleted_device_that_registers_again_needs_a_snapshot() {
    let (store, ann) = (Store::start(), caller("ann"));
    let share = store.share_of(&ann).await;
    store.register(&ann, "d").await;
    store.files.move_cursor(&ann, "d", &share, 1).await.unwrap();
    store.files.delete_device(ann.device("d")).await.unwrap();
    let gone = store.files.device_status(&ann, "d", &share).await;
    assert!(matches!(gone, Err(FilesyncError::NotFound("device"))));
    let gone = store.files.move_cursor(&ann, "d", &share, 1).await;
    assert!(matches!(gone, Err(FilesyncError::NotFound("device"))));
    store.register(&ann, "d").await;
    let status = store.files.device_status(&ann, "d", &share).await.unwrap();
    assert!(status.needs_snapshot);
}

#[tokio::test]
async fn a_share_that_may_not_be_seen_is_as_one_that_is_not_there() {
    let (store, ann, bob) = (Store::start(), caller("ann"), caller("bob"));
    let share = store.share_of(&ann).await;
    store.register(&bob, "d").await;
    for share in [&*share, "shr_none", ""] {
        let status = store.files.device_status(&bob, "d", share).await;
        assert!(matches!(status, Err(FilesyncError::NotFound("share"))));
        let moved = store.files.move_cursor(&bob, "d", share, 0).await;
        assert!(matches!(moved, Err(FilesyncError::NotFound("share"))));
    }
    assert_eq!(store.server.keys("*:cursors"), [""; 0]);
}

#[tokio::test]
async fn open_conflicts_of_the_device_are_told_and_no_others() {
    let (store, ann) = (Store::start(), caller("ann"));
    let share = store.share_of(&ann).await;
    store.register(&ann, "d").await;
    store.register(&ann, "e").await;
    let number = store.field("user:ann:device:d", "seq").unwrap();
    let held = format!("share:{share}:held");
    let has_conflicts = async |device: &str| {
        let status = store.files.device_status(&ann, device, &share).await;
        status.unwrap().has_conflicts
    };
    assert!(!has_conflicts("d").await && !has_conflicts("e").await);
    store.set_field(&held, &number, "1");
    assert!(has_conflicts("d").await && !has_conflicts("e").await);
    store.set_field(&held, &number, "0");
    assert!(!has_conflicts("d").await);
}
