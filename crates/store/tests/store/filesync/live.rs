//! What is heard of a tenant while it happens.

use std::time::Duration;

use sluice_store::filesync::{Event, Grantee, Level, Listener, Listening};
use tokio::time::timeout;

use super::support::{Store, caller};

async fn heard(listener: &mut Listener) -> String {
    match timeout(Duration::from_secs(30), listener.next()).await {
        Ok(Some(Event::Access(message))) => message.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_device_hears_of_itself_and_of_its_user_s_grants_and_of_nobody_else() {
    let store = Store::start();
    let share = store.share().await;
    let mut friend = caller("usr_2");
    let (owner, stranger) = (caller("usr_1"), caller("usr_3"));
    let device = Listening {
        device: "phone",
        number: 7,
    };
    let mut listener = store.files.listen(&friend, Some(device)).await;
    // That it is subscribed.
    assert_eq!(heard(&mut listener).await, "");
    let announce = async |user, device, number| {
        let caller = caller(user);
        let announced = store
            .files
            .announce_socket(caller.device(device), number, "soc");
        announced.await.unwrap();
    };
    let grant = async |grantee: Grantee, level| {
        let granted = store.files.grant(&owner, &share, &grantee, level);
        granted.await.unwrap();
    };
    announce("usr_2", "laptop", 8).await;
    announce("usr_3", "phone", 9).await;
    store.register(&stranger, "phone").await;
    store.register(&friend, "laptop").await;
    grant(Grantee::User("usr_3".into()), Level::Read).await;
    grant(Grantee::Group("staff".into()), Level::Read).await;
    announce("usr_2", "phone", 7).await;
    assert_eq!(heard(&mut listener).await, "s:7 soc");
    grant(Grantee::User("usr_2".into()), Level::Read).await;
    assert_eq!(heard(&mut listener).await, "u:usr_2");

    // A renewed token may have other groups.
    friend.groups = vec!["staff".into()];
    listener.attend(&friend, Some(device));
    grant(Grantee::User("usr_3".into()), Level::Write).await;
    grant(Grantee::Group("staff".into()), Level::Write).await;
    assert_eq!(heard(&mut listener).await, "g:staff");
    friend.groups.clear();
    friend.is_admin = true;
    listener.attend(&friend, Some(device));
    grant(Grantee::Group("staff".into()), Level::Admin).await;
    assert_eq!(heard(&mut listener).await, "g:staff");
    store.register(&friend, "phone").await;
    store
        .files
        .delete_device(friend.device("phone"))
        .await
        .unwrap();
    assert!(heard(&mut listener).await.contains(r#""device":"phone""#));
}
