use std::collections::HashSet;
use std::time::Duration;

use futures_util::TryStreamExt;
use sluice_store::filesync::{
    Caller, DeviceChange, FilesyncError, MAX_DEVICES, NewDevice, Platform,
};

use super::support::{Store, caller, laptop};

const OFF: DeviceChange = DeviceChange {
    name: None,
    is_active: Some(false),
};
const ON: DeviceChange = DeviceChange {
    name: None,
    is_active: Some(true),
};

fn caller_of(tenant: &str, user: &str) -> Caller {
    Caller {
        tenant: tenant.to_owned(),
        ..caller(user)
    }
}

/// Puts devices to sleep that were not seen for a millisecond, until there is one.
async fn sleep_one(store: &Store) {
    let moment = Duration::from_millis(1);
    while store.files.sleep_devices("acme", moment).await.unwrap() != (false, 1) {
        tokio::time::sleep(moment).await;
    }
}

#[tokio::test]
async fn a_device_that_registers_again_is_taken_in_as_it_is_now() {
    let (store, ann) = (Store::start(), caller("ann"));
    let (first, is_new) = store.register(&ann, "d").await;
    assert!(is_new && first.is_active);
    assert_eq!((&*first.id, &*first.name), ("d", "laptop"));
    assert_eq!(
        (first.platform, &*first.client_version),
        (Platform::Linux, "1.0")
    );
    assert_eq!(first.created_at, first.seen_at);

    let now = NewDevice {
        name: "tower".to_owned(),
        platform: Platform::Windows,
        client_version: String::new(),
    };
    let again = store.files.register_device(ann.device("d"), &now);
    let (again, is_new) = again.await.unwrap();
    assert!(!is_new);
    assert_eq!((&*again.name, again.platform), ("tower", Platform::Windows));
    assert_eq!(again.created_at, first.created_at);
    assert_ne!(again.instance, first.instance);
    assert_eq!(store.registered(&ann, "d").await, Some(again));
}

#[tokio::test]
async fn devices_of_one_id_of_other_users_and_tenants_are_others() {
    let store = Store::start();
    // Names that would meet if they were not kept apart in the keys.
    let callers = [
        caller("a"),
        caller("b"),
        caller_of("other", "a"),
        caller("a:device:x"),
        caller("a%3Adevice%3Ax"),
        caller("a:device"),
        caller("a b"),
        caller("a%20b"),
        caller_of("t}", "a"),
        caller_of("t%7D", "a"),
    ];
    for caller in &callers {
        for id in ["x", "devices", "preferences"] {
            assert!(store.register(caller, id).await.1, "{caller:?} {id}");
        }
    }
    for caller in &callers {
        let devices = store.files.devices(&caller.tenant, &caller.user).await;
        let ids: HashSet<String> = devices.unwrap().into_iter().map(|it| it.id).collect();
        let expected = ["x", "devices", "preferences"].map(str::to_owned);
        assert_eq!(ids, HashSet::from(expected), "{caller:?}");
    }
    store
        .files
        .delete_device(callers[0].device("x"))
        .await
        .unwrap();
    for caller in &callers[1..] {
        assert!(store.registered(caller, "x").await.is_some(), "{caller:?}");
    }
}

#[tokio::test]
async fn a_user_has_so_many_devices_and_no_more() {
    let (store, ann) = (Store::start(), caller("ann"));
    for number in 0..MAX_DEVICES {
        store.register(&ann, &format!("d{number}")).await;
    }
    let said = laptop();
    let one_more = store.files.register_device(ann.device("more"), &said);
    let error = one_more.await.unwrap_err();
    assert!(matches!(error, FilesyncError::TooManyDevices), "{error:?}");
    assert!(!store.register(&ann, "d7").await.1);
    assert!(store.register(&caller("bob"), "more").await.1);
    store.files.delete_device(ann.device("d7")).await.unwrap();
    assert!(store.register(&ann, "more").await.1);
}

#[tokio::test]
async fn no_two_devices_of_a_tenant_ever_have_one_number() {
    let (store, ann) = (Store::start(), caller("ann"));
    let number = |user: &str| {
        store
            .field(&format!("user:{user}:device:d"), "seq")
            .unwrap()
    };
    let mut numbers = HashSet::new();
    for _ in 0..3 {
        store.register(&ann, "d").await;
        assert!(numbers.insert(number("ann")));
        store.register(&ann, "d").await;
        assert!(numbers.contains(&number("ann")));
        store.files.delete_device(ann.device("d")).await.unwrap();
    }
    store.register(&caller("bob"), "d").await;
    assert!(numbers.insert(number("bob")));
}

#[tokio::test]
async fn a_device_that_is_not_seen_sleeps_until_it_is() {
    let (store, ann) = (Store::start(), caller("ann"));
    store.register(&ann, "d").await;
    let hour = Duration::from_secs(3600);
    assert_eq!(
        store.files.sleep_devices("acme", hour).await.unwrap(),
        (false, 0)
    );
    sleep_one(&store).await;
    assert!(!store.registered(&ann, "d").await.unwrap().is_active);
    let moment = Duration::from_millis(1);
    assert_eq!(
        store.files.sleep_devices("acme", moment).await.unwrap(),
        (false, 0)
    );

    store.files.device_seen(ann.device("d")).await.unwrap();
    assert!(store.registered(&ann, "d").await.unwrap().is_active);
    // And it may fall asleep again, from which a registration wakes it, too.
    sleep_one(&store).await;
    let (device, _) = store.register(&ann, "d").await;
    assert!(device.is_active);
}

#[tokio::test]
async fn what_a_user_switched_off_no_heartbeat_wakes() {
    let (store, ann) = (Store::start(), caller("ann"));
    store.register(&ann, "d").await;
    let off = store.files.update_device(ann.device("d"), &OFF).await;
    assert!(!off.unwrap().is_active);
    store.files.device_seen(ann.device("d")).await.unwrap();
    assert!(!store.register(&ann, "d").await.0.is_active);

    // Nor what the clock had put to sleep before.
    store
        .files
        .update_device(ann.device("d"), &ON)
        .await
        .unwrap();
    sleep_one(&store).await;
    store
        .files
        .update_device(ann.device("d"), &OFF)
        .await
        .unwrap();
    store.files.device_seen(ann.device("d")).await.unwrap();
    assert!(!store.registered(&ann, "d").await.unwrap().is_active);
    let on = store.files.update_device(ann.device("d"), &ON).await;
    assert!(on.unwrap().is_active);
}

#[tokio::test]
async fn a_deleted_device_is_gone_with_all_its_keys() {
    let (store, ann) = (Store::start(), caller("ann"));
    let share = store.share_of(&ann).await;
    store.register(&ann, "d").await;
    store.files.device_status(&ann, "d", &share).await.unwrap();
    assert_eq!(store.server.keys("*:device:d*").len(), 2);
    store.files.delete_device(ann.device("d")).await.unwrap();
    assert_eq!(store.server.keys("*:user:*"), [""; 0]);
    assert_eq!(store.server.keys("*:seen"), [""; 0]);

    let again = store.files.delete_device(ann.device("d")).await;
    assert!(matches!(again, Err(FilesyncError::NotFound("device"))));
    let changed = store.files.update_device(ann.device("d"), &ON).await;
    assert!(matches!(changed, Err(FilesyncError::NotFound("device"))));
    let seen = store.files.device_seen(ann.device("d")).await;
    assert!(matches!(seen, Err(FilesyncError::NotFound("device"))));
    assert_eq!(store.server.keys("*:user:*"), [""; 0]);
}

#[tokio::test]
async fn tenants_with_devices_are_known() {
    let store = Store::start();
    store.register(&caller_of("one", "u"), "d").await;
    store.register(&caller_of("two", "u"), "d").await;
    let mut tenants: Vec<String> = store.files.tenants().try_collect().await.unwrap();
    tenants.sort();
    assert_eq!(tenants, ["one", "two"]);
}
