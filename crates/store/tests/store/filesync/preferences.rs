use sluice_store::filesync::{FilesyncError, Grantee, Level, Preference};

use super::support::{Store, caller};

fn only(folders: &[&str]) -> Preference {
    let folders = folders.iter().map(|&folder| folder.to_owned());
    Preference {
        sync_enabled: true,
        selected_folders: Some(folders.collect()),
        excluded_folders: None,
    }
}

#[tokio::test]
async fn preferences_are_kept_for_the_named_shares_and_listed_by_share() {
    let (store, ann) = (Store::start(), caller("ann"));
    store.register(&ann, "d").await;
    assert_eq!(store.files.preferences(&ann, "d").await.unwrap(), []);
    let mut shares = Vec::new();
    for _ in 0..3 {
        shares.push(store.share_of(&ann).await);
    }
    shares.sort();
    let [one, two, three] = &shares[..] else {
        panic!()
    };
    let both = [(one.clone(), only(&[])), (two.clone(), only(&["fld_1"]))];
    let at = store.files.prefer(&ann, "d", &both).await.unwrap();
    let off = Preference {
        sync_enabled: false,
        selected_folders: None,
        excluded_folders: Some(vec!["root".to_owned()]),
    };
    let others = [(three.clone(), off.clone()), (two.clone(), off.clone())];
    let later = store.files.prefer(&ann, "d", &others).await.unwrap();
    let kept = store.files.preferences(&ann, "d").await.unwrap();
    let expected = [
        (one, only(&[]), at),
        (two, off.clone(), later),
        (three, off, later),
    ];
    assert_eq!(kept.len(), expected.len());
    for ((share, kept), (name, preference, at)) in kept.into_iter().zip(expected) {
        assert_eq!(
            (&share, kept.preference, kept.updated_at),
            (name, preference, at)
        );
    }
}

#[tokio::test]
async fn nothing_is_kept_when_one_of_the_shares_may_not_be_seen() {
    let (store, ann, bob) = (Store::start(), caller("ann"), caller("bob"));
    let (own, foreign) = (store.share_of(&bob).await, store.share_of(&ann).await);
    store.register(&bob, "d").await;
    for hidden in [&foreign, "shr_none"] {
        let both = [(own.clone(), only(&[])), (hidden.to_owned(), only(&[]))];
        let refused = store.files.prefer(&bob, "d", &both).await;
        assert!(matches!(refused, Err(FilesyncError::NotFound("share"))));
    }
    assert_eq!(store.files.preferences(&bob, "d").await.unwrap(), []);
}

#[tokio::test]
async fn preferences_of_a_share_that_is_revoked_are_not_shown() {
    let (store, ann, bob) = (Store::start(), caller("ann"), caller("bob"));
    let share = store.share_of(&ann).await;
    let guest = Grantee::User("bob".to_owned());
    store
        .files
        .grant(&ann, &share, &guest, Level::Read)
        .await
        .unwrap();
    store.register(&bob, "d").await;
    let wish = [(share.clone(), only(&[]))];
    store.files.prefer(&bob, "d", &wish).await.unwrap();
    assert_eq!(store.files.preferences(&bob, "d").await.unwrap().len(), 1);
    store.files.revoke(&ann, &share, &guest).await.unwrap();
    assert_eq!(store.files.preferences(&bob, "d").await.unwrap(), []);
}

#[tokio::test]
async fn a_device_that_is_not_there_has_no_preferences() {
    let (store, ann) = (Store::start(), caller("ann"));
    let share = store.share_of(&ann).await;
    for id in ["d", "", "a/b", "."] {
        let listed = store.files.preferences(&ann, id).await;
        assert!(matches!(listed, Err(FilesyncError::NotFound("device"))));
        let wish = [(share.clone(), only(&[]))];
        let kept = store.files.prefer(&ann, id, &wish).await;
        assert!(matches!(kept, Err(FilesyncError::NotFound("device"))));
    }
    assert_eq!(store.server.keys("*:preferences"), [""; 0]);
}
