//! Calls whose answers get lost, and which are sent again.

use sluice_store::filesync::{Filesync, Grantee, Level};
use sluice_test_support::LossyWay;
use sluice_valkey::Valkey;

use super::support::{Store, caller, change, folder};

#[tokio::test]
async fn a_call_whose_answer_was_lost_is_made_once_and_answered_as_made() {
    let store = Store::start();
    let share = store.share().await;
    let way = LossyWay::to(store.server.port()).await;
    let files = Filesync::new(&Valkey::at(&way.url()).unwrap());
    let owner = caller("usr_1");
    let friend = Grantee::User("usr_2".into());
    // So that the library is there, and functions alone are lost.
    files.share(&owner, &share).await.unwrap();

    way.lose(1);
    files
        .grant(&owner, &share, &friend, Level::Admin)
        .await
        .unwrap();
    way.assert_lost();
    way.lose(1);
    files.revoke(&owner, &share, &friend).await.unwrap();
    way.assert_lost();
    let batch = sluice_store::filesync::Batch {
        device: "a".into(),
        share: share.clone(),
        strategy: None,
        base_cursor: Some(0),
        sent_at: None,
        is_confirmed: false,
        changes: vec![change(folder("d", "/d"))],
    };
    way.lose(1);
    let applied = files.apply(&owner, &batch).await.unwrap();
    way.assert_lost();
    assert!(applied.applied[0].get().contains(r#""outcome":"applied""#));
    let types: Vec<_> = store.log(&share).await;
    let types: Vec<_> = types
        .iter()
        .map(|it| it["change_type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["created", "created", "deleted", "created"]);

    way.lose(1);
    files.delete_device(owner.device("a")).await.unwrap();
    way.assert_lost();
    way.lose(1);
    files.delete_share(&owner, &share).await.unwrap();
    way.assert_lost();
    files.share(&owner, &share).await.unwrap_err();
}
