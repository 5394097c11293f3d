use std::time::Duration;

use serde_json::json;
use sluice_store::filesync::Filesync;

use super::{DEVICES, User, code, device, is, laptop, problem};
use crate::app::App;

#[tokio::test]
async fn a_device_is_new_once_and_known_from_then_on() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let created = ann.send(&app, "POST", DEVICES, &laptop("d.1")).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.header("location"), device("d.1"));
    let body = created.json();
    let time = &body["created_at"];
    assert!(time.as_str().unwrap().ends_with('Z') && time.as_str().unwrap().len() == 24);
    let instance = body["instance"].as_str().unwrap();
    let mut shown = json!({
        "id": "d.1", "device_id": "d.1", "device_name": "laptop", "platform": "linux",
        "client_version": "1.0", "is_active": true, "last_seen_at": time, "created_at": time,
        "user_id": "ann", "instance": instance,
    });
    assert_eq!(body, shown);
    shown.as_object_mut().unwrap().remove("instance");
    assert_eq!(ann.get(&app, DEVICES).await.json(), json!([shown]));

    let now = json!({"device_id": "d.1", "device_name": "tower", "platform": "web"});
    let known = ann.send(&app, "POST", DEVICES, &now).await;
    assert_eq!(known.status, 200);
    let again = known.json();
    assert_eq!(
        (&again["device_name"], &again["platform"]),
        (&json!("tower"), &json!("web"))
    );
    assert_eq!(
        (&again["client_version"], &again["created_at"]),
        (&json!(null), time)
    );
    assert_ne!(again["instance"], body["instance"]);
}

#[tokio::test]
async fn devices_are_seen_and_steered_by_their_user_alone() {
    let app = App::start().await;
    let (ann, bob) = (User::new("ann"), User::new("bob"));
    let of_another_tenant = User::of("other", "ann", &[], super::ALL);
    ann.register(&app, "d").await;
    for other in [&bob, &of_another_tenant] {
        assert_eq!(other.get(&app, DEVICES).await.json(), json!([]));
        let off = json!({"is_active": false});
        let patched = other.send(&app, "PATCH", &device("d"), &off).await;
        assert_eq!(code(&patched), is(404, "NOT_FOUND"));
        let deleted = other.send(&app, "DELETE", &device("d"), &json!(null)).await;
        assert_eq!(code(&deleted), is(404, "NOT_FOUND"));
        let answer = other.send(&app, "POST", DEVICES, &laptop("d")).await;
        assert_eq!(answer.status, 201);
    }
    let devices = ann.get(&app, DEVICES).await.json();
    assert_eq!(devices.as_array().unwrap().len(), 1);
    assert_eq!(devices[0]["is_active"], true);
}

#[tokio::test]
async fn a_device_is_renamed_and_switched_off_and_only_its_user_switches_it_on() {
    let (app, ann) = (App::start().await, User::new("ann"));
    ann.register(&app, "d").await;
    let change = json!({"device_name": "desk", "is_active": false});
    let changed = ann.send(&app, "PATCH", &device("d"), &change).await;
    assert_eq!(changed.status, 200);
    let body = changed.json();
    assert_eq!(
        (&body["device_name"], &body["is_active"]),
        (&json!("desk"), &json!(false))
    );
    let beat = format!("{}/heartbeat", device("d"));
    let beaten = ann.send(&app, "POST", &beat, &json!(null)).await;
    assert_eq!(
        (beaten.status.as_u16(), beaten.text()),
        (204, String::new())
    );
    assert_eq!(ann.get(&app, DEVICES).await.json()[0]["is_active"], false);
    let unchanged = ann.send(&app, "PATCH", &device("d"), &json!({})).await;
    assert_eq!(unchanged.json()["device_name"], "desk");
    let changed = ann
        .send(&app, "PATCH", &device("d"), &json!({"is_active": true}))
        .await;
    assert_eq!(changed.json()["is_active"], true);
}

#[tokio::test]
async fn a_heartbeat_wakes_what_the_clock_put_to_sleep() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let registered = ann.register(&app, "d").await;
    let (filesync, moment) = (Filesync::new(app.cache.valkey()), Duration::from_millis(1));
    while filesync.sleep_devices("t", moment).await.unwrap() != (false, 1) {
        tokio::time::sleep(moment).await;
    }
    assert_eq!(ann.get(&app, DEVICES).await.json()[0]["is_active"], false);
    let beat = format!("{}/heartbeat", device("d"));
    assert_eq!(
        ann.send(&app, "POST", &beat, &json!(null)).await.status,
        204
    );
    let awake = &ann.get(&app, DEVICES).await.json()[0];
    assert_eq!(awake["is_active"], true);
    assert!(awake["last_seen_at"].as_str() > registered["last_seen_at"].as_str());
}

#[tokio::test]
async fn a_deleted_device_is_not_there_until_it_registers_as_a_new_one() {
    let (app, ann) = (App::start().await, User::new("ann"));
    ann.register(&app, "d").await;
    let deleted = ann.send(&app, "DELETE", &device("d"), &json!(null)).await;
    assert_eq!(
        (deleted.status.as_u16(), deleted.text()),
        (204, String::new())
    );
    assert_eq!(ann.get(&app, DEVICES).await.json(), json!([]));
    for (method, path) in [
        ("DELETE", device("d")),
        ("PATCH", device("d")),
        ("POST", format!("{}/heartbeat", device("d"))),
        ("PATCH", device("a%20b")),
        ("DELETE", device("root")),
    ] {
        let answer = ann.send(&app, method, &path, &json!({})).await;
        assert_eq!(code(&answer), is(404, "NOT_FOUND"), "{method} {path}");
    }
    let created = ann.send(&app, "POST", DEVICES, &laptop("d")).await;
    assert_eq!(created.status, 201);
}

#[tokio::test]
async fn one_device_too_many_is_refused_and_a_known_one_is_not() {
    let (app, ann) = (App::start().await, User::new("ann"));
    for number in 0..100 {
        ann.register(&app, &format!("d{number}")).await;
    }
    let refused = ann.send(&app, "POST", DEVICES, &laptop("more")).await;
    assert_eq!(code(&refused), is(409, "TOO_MANY"));
    ann.register(&app, "d0").await;
}

#[tokio::test]
async fn what_a_device_says_wrongly_is_named_by_field_and_rule() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let long = "x".repeat(257);
    for (field, value) in [
        ("device_id", json!("")),
        ("device_id", json!("a/b")),
        ("device_id", json!("a:b")),
        ("device_id", json!("..")),
        ("device_id", json!("root")),
        ("device_id", json!("x".repeat(129))),
        ("device_id", json!(7)),
        ("device_name", json!("")),
        ("device_name", json!(long)),
        ("device_name", json!("a\u{0}b")),
        ("device_name", json!(null)),
        ("platform", json!("amiga")),
        ("client_version", json!("x".repeat(65))),
        ("extra", json!(1)),
    ] {
        let mut body = laptop("d");
        body[field] = value.clone();
        let refused = ann.send(&app, "POST", DEVICES, &body).await;
        let (status, code, detail) = problem(&refused);
        assert_eq!(
            (status, &*code),
            (422, "INVALID_REQUEST"),
            "{field} {value}"
        );
        assert!(detail.contains(field), "{field} {value}: {detail}");
    }
    assert_eq!(ann.get(&app, DEVICES).await.json(), json!([]));
    ann.register(&app, "d").await;
    for body in [
        json!({"device_name": ""}),
        json!({"is_active": "no"}),
        json!({"id": "x"}),
    ] {
        let refused = ann.send(&app, "PATCH", &device("d"), &body).await;
        assert_eq!(code(&refused), is(422, "INVALID_REQUEST"), "{body}");
    }
}
