//! Shares, and who sees them.

use sluice_store::filesync::{FilesyncError, Grantee, Level};

use super::support::{Store, caller, folder};

#[tokio::test]
async fn a_share_is_seen_by_whom_it_was_granted_to_until_it_is_revoked() {
    let store = Store::start();
    let share = store.share().await;
    let (owner, friend) = (caller("usr_1"), caller("usr_2"));
    let missing = store.files.share(&friend, &share).await;
    assert!(matches!(missing, Err(FilesyncError::NotFound("share"))));

    let grantee = Grantee::User("usr_2".into());
    store
        .files
        .grant(&owner, &share, &grantee, Level::Read)
        .await
        .unwrap();
    let seen = store.files.share(&friend, &share).await.unwrap();
    assert_eq!(seen.level, Level::Read);
    assert_eq!(
        store.files.shares(&friend, None, 10).await.unwrap().0.len(),
        1
    );
    let forbidden = store.files.revoke(&friend, &share, &grantee).await;
    assert!(matches!(forbidden, Err(FilesyncError::Forbidden)));

    store.files.revoke(&owner, &share, &grantee).await.unwrap();
    assert!(
        store
            .files
            .shares(&friend, None, 10)
            .await
            .unwrap()
            .0
            .is_empty()
    );
    let types: Vec<_> = store.log(&share).await;
    let types: Vec<_> = types
        .iter()
        .map(|it| it["change_type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["created", "created", "deleted"]);
}

#[tokio::test]
async fn members_of_a_group_see_what_is_granted_to_it() {
    let store = Store::start();
    let share = store.share().await;
    let mut member = caller("usr_3");
    member.groups = vec!["designers".into()];
    let group = Grantee::Group("designers".into());
    store
        .files
        .grant(&caller("usr_1"), &share, &group, Level::Write)
        .await
        .unwrap();
    assert_eq!(
        store.files.share(&member, &share).await.unwrap().level,
        Level::Write
    );
    member.groups = vec!["others".into()];
    assert!(store.files.share(&member, &share).await.is_err());
}

#[tokio::test]
async fn a_share_that_is_granted_begins_in_the_feed_with_its_grant() {
    let store = Store::start();
    let share = store.share().await;
    store
        .one(&share, "a", None, 0, folder("before", "/before"))
        .await;
    let friend = caller("usr_2");
    let grantee = Grantee::User("usr_2".into());
    let owner = caller("usr_1");
    store
        .files
        .grant(&owner, &share, &grantee, Level::Read)
        .await
        .unwrap();
    store
        .one(&share, "a", None, 0, folder("after", "/after"))
        .await;
    let feed = async || {
        let page = store.files.feed(&friend, Some(0), None, 100).await.unwrap();
        let changes = page.changes.iter();
        changes
            .map(|it| {
                let it: serde_json::Value = serde_json::from_str(it.get()).unwrap();
                format!(
                    "{} {}",
                    it["change_type"].as_str().unwrap(),
                    it["resource_id"].as_str().unwrap()
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        feed().await,
        [format!("created {share}"), "created after".into()]
    );

    store.files.revoke(&owner, &share, &grantee).await.unwrap();
    store
        .one(&share, "a", None, 0, folder("later", "/later"))
        .await;
    assert_eq!(
        feed().await,
        [format!("created {share}"), format!("deleted {share}")]
    );
}

#[tokio::test]
async fn a_share_that_is_deleted_is_gone_for_all_and_the_feed_says_so() {
    let store = Store::start();
    let share = store.share().await;
    let owner = caller("usr_1");
    let friend = Grantee::User("usr_2".into());
    store
        .files
        .grant(&owner, &share, &friend, Level::Admin)
        .await
        .unwrap();
    store
        .files
        .delete_share(&caller("usr_2"), &share)
        .await
        .unwrap();
    for user in ["usr_1", "usr_2"] {
        let gone = store.files.share(&caller(user), &share).await;
        assert!(
            matches!(gone, Err(FilesyncError::NotFound("share"))),
            "{user}"
        );
        let page = store
            .files
            .feed(&caller(user), Some(0), None, 100)
            .await
            .unwrap();
        assert!(
            page.changes
                .last()
                .unwrap()
                .get()
                .contains(r#""change_type":"deleted""#)
        );
    }
}
