//! Devices that are told of changes while they happen.

use serde_json::{Value, json};
use sluice_api::auth::Scope;

use super::{ALL, DEVICES, User, device};
use crate::app::App;
use crate::sockets::{Socket, open, serve};

const APPLY: &str = "/api/v1/sync/apply";

/// A socket of a user's device that has subscribed, and the shares that it is told of.
async fn watch(app: &App, user: &User, device: &str) -> (Socket, Value) {
    let url = serve(app, &format!("/api/v1/sync/ws/{device}")).await;
    let mut socket = open(&url, Some(&user.0)).await.unwrap();
    socket.say(json!({"type": "subscribe"})).await;
    let frame = socket.next().await;
    assert_eq!(frame["type"], "subscribed");
    (socket, frame["shares"].clone())
}

async fn apply(app: &App, user: &User, device: &str, share: &str, change: Value) {
    let body = json!({
        "device_id": device, "share_id": share, "conflict_resolution": "CLIENT_WINS", "changes": [change],
    });
    let answer = user.send(app, "POST", APPLY, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["conflicts"], json!([]), "{}", answer.text());
}

fn folder(id: &str, path: &str) -> Value {
    json!({"resource_type": "folder", "change_type": "created", "resource_id": id, "new_path": path})
}

async fn prefer(app: &App, user: &User, id: &str, share: &str, preference: Value) {
    let path = format!("{DEVICES}/{id}/preferences/{share}");
    let answer = user.send(app, "PUT", &path, &preference).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_device_is_told_of_the_changes_of_others_and_not_of_its_own() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let share = ann.share(&app).await;
    ann.register(&app, "d").await;
    ann.register(&app, "e").await;
    let (mut socket, shares) = watch(&app, &ann, "d").await;
    assert_eq!(shares, json!([{"share_id": share, "cursor": 1}]));
    socket.say(json!({"type": "ping"})).await;
    assert_eq!(socket.next().await, json!({"type": "pong"}));

    apply(&app, &ann, "d", &share, folder("own", "/own")).await;
    apply(&app, &ann, "e", &share, folder("other", "/other")).await;
    let frame = socket.next().await;
    assert_eq!(
        (&frame["event_type"], &frame["share_id"]),
        (&json!("change"), &json!(share))
    );
    let path = format!("/api/v1/sync/changes?share_id={share}&cursor=2");
    let page = ann.get(&app, &path).await.json();
    assert_eq!(frame["data"], page["changes"][0]);
    assert_eq!(frame["data"]["position"], 3);
}

#[tokio::test]
async fn every_reader_is_told_of_every_type_of_change() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let share = ann.share(&app).await;
    ann.register(&app, "d").await;
    ann.grant(&app, &share, "bob", "read").await;
    let path = format!("/api/v1/shares/{share}/grants/groups/staff");
    ann.send(&app, "PUT", &path, &json!({"level": "write"}))
        .await;
    let readers = [User::new("bob"), User::of("t", "cy", &["staff"], ALL)];
    let mut sockets = Vec::new();
    for reader in &readers {
        reader.register(&app, "r").await;
        sockets.push(watch(&app, reader, "r").await.0);
    }
    let changes = [
        folder("a", "/a"),
        folder("b", "/b"),
        json!({"resource_type": "folder", "change_type": "updated", "resource_id": "a", "metadata": {"x": 1}}),
        json!({"resource_type": "folder", "change_type": "renamed", "resource_id": "a", "new_path": "/c"}),
        json!({"resource_type": "folder", "change_type": "moved", "resource_id": "a", "new_path": "/b/c"}),
        json!({"resource_type": "folder", "change_type": "deleted", "resource_id": "b"}),
    ];
    for change in changes {
        apply(&app, &ann, "d", &share, change).await;
    }
    for socket in &mut sockets {
        let mut types = Vec::new();
        for _ in 0..6 {
            types.push(socket.next().await["data"]["change_type"].clone());
        }
        assert_eq!(
            types,
            [
                "created", "created", "updated", "renamed", "moved", "deleted"
            ]
        );
    }
}

#[tokio::test]
async fn a_share_that_is_granted_and_revoked_comes_and_goes_on_open_sockets() {
    let (app, ann, bob) = (App::start().await, User::new("ann"), User::new("bob"));
    let (own, other) = (bob.share(&app).await, ann.share(&app).await);
    ann.register(&app, "d").await;
    bob.register(&app, "d").await;
    let (mut socket, shares) = watch(&app, &bob, "d").await;
    assert_eq!(shares, json!([{"share_id": own, "cursor": 1}]));
    ann.grant(&app, &other, "bob", "read").await;
    let granted = json!({"event_type": "force_sync", "share_id": other, "reason": "granted"});
    assert_eq!(socket.next().await, granted);
    apply(&app, &ann, "d", &other, folder("a", "/a")).await;
    assert_eq!(socket.next().await["data"]["resource_id"], "a");

    let grant = format!("/api/v1/shares/{other}/grants/users/bob");
    let answer = ann.send(&app, "DELETE", &grant, &Value::Null).await;
    assert_eq!(answer.status, 204);
    let last = socket.next().await;
    assert_eq!(
        (&last["data"]["resource_type"], &last["data"]["change_type"]),
        (&json!("share"), &json!("deleted"))
    );
    apply(&app, &ann, "d", &other, folder("b", "/b")).await;
    // Nothing of it comes before what happens in the own share.
    bob.register(&app, "e").await;
    apply(&app, &bob, "e", &own, folder("c", "/c")).await;
    assert_eq!(socket.next().await["data"]["resource_id"], "c");
}

#[tokio::test]
async fn what_preferences_leave_out_is_not_told_and_moves_across_their_border_are() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let share = ann.share(&app).await;
    ann.register(&app, "d").await;
    ann.register(&app, "e").await;
    apply(&app, &ann, "e", &share, folder("out", "/out")).await;
    apply(&app, &ann, "e", &share, folder("in", "/in")).await;
    let excluded = json!({"sync_enabled": true, "excluded_folders": ["out"]});
    prefer(&app, &ann, "d", &share, excluded).await;
    let (mut socket, _) = watch(&app, &ann, "d").await;
    let rename = |id: &str, path: &str| json!({"resource_type": "folder", "change_type": "renamed", "resource_id": id, "new_path": path});
    apply(&app, &ann, "e", &share, folder("x", "/out/x")).await;
    apply(&app, &ann, "e", &share, rename("out", "/away")).await;
    apply(&app, &ann, "e", &share, folder("y", "/in/y")).await;
    assert_eq!(socket.next().await["data"]["resource_id"], "y");
    let moved = json!({"resource_type": "folder", "change_type": "moved", "resource_id": "y", "new_path": "/away/y"});
    apply(&app, &ann, "e", &share, moved).await;
    assert_eq!(socket.next().await["data"]["change_type"], "moved");

    let all = json!({"sync_enabled": true, "excluded_folders": null});
    prefer(&app, &ann, "d", &share, all).await;
    let updated =
        json!({"event_type": "sync_preference_updated", "share_id": share, "device_id": "d"});
    assert_eq!(socket.next().await, updated);
    let sync = json!({"event_type": "force_sync", "share_id": share, "reason": "preferences"});
    assert_eq!(socket.next().await, sync);
    apply(&app, &ann, "e", &share, folder("z", "/away/z")).await;
    assert_eq!(socket.next().await["data"]["resource_id"], "z");
}

#[tokio::test]
async fn a_newer_socket_of_a_device_ends_the_older_one() {
    let (app, ann, bob) = (App::start().await, User::new("ann"), User::new("bob"));
    ann.share(&app).await;
    bob.share(&app).await;
    ann.register(&app, "d").await;
    bob.register(&app, "d").await;
    let (mut first, _) = watch(&app, &ann, "d").await;
    let (mut other, _) = watch(&app, &bob, "d").await;
    let (mut second, _) = watch(&app, &ann, "d").await;
    assert_eq!(first.closed().await, 4409);
    for socket in [&mut other, &mut second] {
        socket.say(json!({"type": "ping"})).await;
        assert_eq!(socket.next().await["type"], "pong");
    }
}

#[tokio::test]
async fn a_socket_without_a_good_token_is_closed_after_it_was_opened() {
    let (app, ann) = (App::start().await, User::new("ann"));
    ann.register(&app, "d").await;
    let url = serve(&app, "/api/v1/sync/ws/d").await;
    assert_eq!(open(&url, None).await.unwrap().closed().await, 4401);
    assert_eq!(open(&url, Some("no")).await.unwrap().closed().await, 4401);
    let query = format!("{url}?token=no");
    assert_eq!(open(&query, None).await.unwrap().closed().await, 4401);
    let narrow = User::of("t", "ann", &[], &[Scope::FilesWrite]);
    assert_eq!(
        open(&url, Some(&narrow.0)).await.unwrap().closed().await,
        4403
    );
    let mut socket = open(&format!("{url}?token={}", ann.0), None).await.unwrap();
    socket.say(json!({"type": "ping"})).await;
    assert_eq!(socket.next().await["type"], "pong");
    // Another user's token does not go on with it.
    socket
        .say(json!({"type": "auth", "token": User::new("bob").0}))
        .await;
    assert_eq!(socket.closed().await, 4401);
}

#[tokio::test]
async fn a_device_that_is_unknown_deleted_or_inactive_is_not_told_anything() {
    let (app, ann) = (App::start().await, User::new("ann"));
    ann.share(&app).await;
    let url = serve(&app, "/api/v1/sync/ws/d").await;
    assert_eq!(open(&url, Some(&ann.0)).await.unwrap().closed().await, 4404);
    ann.register(&app, "d").await;
    let (mut socket, _) = watch(&app, &ann, "d").await;
    let answer = ann
        .send(&app, "PATCH", &device("d"), &json!({"is_active": false}))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(socket.closed().await, 4403);
    assert_eq!(open(&url, Some(&ann.0)).await.unwrap().closed().await, 4403);
    ann.send(&app, "PATCH", &device("d"), &json!({"is_active": true}))
        .await;
    let (mut socket, _) = watch(&app, &ann, "d").await;
    let answer = ann.send(&app, "DELETE", &device("d"), &Value::Null).await;
    assert_eq!(answer.status, 204);
    assert_eq!(socket.closed().await, 4404);
}

#[tokio::test]
async fn more_frames_than_a_client_may_send_end_its_socket() {
    let (app, ann) = (App::start().await, User::new("ann"));
    ann.register(&app, "d").await;
    let url = serve(&app, "/api/v1/sync/ws/d").await;
    let mut socket = open(&url, Some(&ann.0)).await.unwrap();
    for _ in 0..30 {
        socket.say(json!({"type": "ping"})).await;
    }
    assert_eq!(socket.closed().await, 1008);
}
