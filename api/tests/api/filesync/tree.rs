//! Applying, reading changes, snapshots, conflicts.

use axum::body::Body;
use serde_json::{Value, json};
use sluice_api::auth::Scope;

use super::{SHARES, User, code, device, is, problem};
use crate::app::{Answer, App};

const APPLY: &str = "/api/v1/sync/apply";

/// A user with two devices and a share.
struct Tree {
    app: App,
    ann: User,
    share: String,
}

impl Tree {
    async fn start() -> Self {
        let (app, ann) = (App::start().await, User::new("ann"));
        let share = ann.share(&app).await;
        ann.register(&app, "d").await;
        ann.register(&app, "e").await;
        Self { app, ann, share }
    }

    fn batch(&self, device: &str, changes: &[Value]) -> Value {
        json!({"device_id": device, "share_id": self.share, "changes": changes})
    }

    async fn apply(&self, body: &Value) -> Answer {
        self.ann.send(&self.app, "POST", APPLY, body).await
    }

    /// Applies changes that nothing stands against.
    async fn done(&self, device: &str, changes: &[Value]) -> Value {
        let answer = self.apply(&self.batch(device, changes)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["conflicts"], json!([]), "{body}");
        assert_eq!(body["applied"].as_array().unwrap().len(), changes.len());
        body
    }

    async fn get(&self, path: &str) -> Answer {
        self.ann
            .get(&self.app, &format!("/api/v1/sync/{path}"))
            .await
    }

    async fn changes(&self, query: &str) -> Answer {
        self.get(&format!("changes?share_id={}&{query}", self.share))
            .await
    }
}

fn folder(id: &str) -> Value {
    json!({
        "resource_type": "folder", "resource_id": id, "change_type": "created",
        "new_path": format!("/{id}"),
    })
}

fn rename(id: &str, to: &str) -> Value {
    json!({
        "resource_type": "folder", "resource_id": id, "change_type": "renamed",
        "old_path": format!("/{id}"), "new_path": format!("/{to}"),
    })
}

fn deletion(id: &str) -> Value {
    json!({"resource_type": "folder", "resource_id": id, "change_type": "deleted"})
}

#[tokio::test]
async fn what_is_applied_is_in_the_changes_once_and_in_order() {
    let tree = Tree::start().await;
    let head = tree.changes("").await.json();
    assert_eq!((&head["changes"], &head["cursor"]), (&json!([]), &json!(1)));
    assert_eq!(
        (&head["has_more"], &head["share_id"]),
        (&json!(false), &json!(tree.share))
    );

    let mut batch = tree.batch("d", &[folder("a"), folder("b")]);
    batch["base_cursor"] = json!(1);
    batch["sent_at"] = json!("2026-11-29T19:00:00+02:00");
    let applied = tree.apply(&batch).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let applied = applied.json();
    assert_eq!(applied["cursor"], 3);
    let of = |item: &Value| {
        (
            item["outcome"].clone(),
            item["path"].clone(),
            item["position"].clone(),
        )
    };
    assert_eq!(
        of(&applied["applied"][0]),
        (json!("applied"), json!("/a"), json!(2))
    );
    assert_eq!(
        of(&applied["applied"][1]),
        (json!("applied"), json!("/b"), json!(3))
    );

    let mut seen = Vec::new();
    let (mut cursor, mut since) = (0, String::new());
    loop {
        let page = tree
            .changes(&format!("cursor={cursor}&limit=1{since}"))
            .await;
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        for change in page["changes"].as_array().unwrap() {
            seen.push(change["position"].as_u64().unwrap());
        }
        if page["has_more"] == false {
            break;
        }
        assert!(page["cursor"].as_u64().unwrap() > cursor);
        cursor = page["cursor"].as_u64().unwrap();
        since = format!("&since={}", page["last_change_id"].as_str().unwrap());
    }
    assert_eq!(seen, [1, 2, 3]);
    let last = &tree.changes("cursor=2").await.json()["changes"][0];
    let expected = [
        ("resource_type", json!("folder")),
        ("resource_id", json!("b")),
        ("change_type", json!("created")),
        ("changed_by", json!("ann")),
        ("device_id", json!("d")),
        ("new_path", json!("/b")),
        ("tenant_id", json!("t")),
        ("share_id", json!(tree.share)),
    ];
    for (field, value) in expected {
        assert_eq!(last[field], value, "{field}");
    }
    let all = tree.get("changes?cursor=0").await.json();
    assert_eq!(
        (&all["share_id"], &all["cursor"]),
        (&json!(null), &json!(3))
    );
    assert_eq!(all["changes"][2]["tenant_position"], 3);
    assert_eq!(all["last_change_id"], last["id"]);
    let next = format!("changes?cursor=3&since={}", last["id"].as_str().unwrap());
    assert_eq!(tree.get(&next).await.json()["changes"], json!([]));
    let other = format!("changes?cursor=2&since={}", last["id"].as_str().unwrap());
    let lost = tree.get(&other).await;
    assert_eq!(code(&lost), is(400, "SYNC_CURSOR_INVALID"));
    assert_eq!(lost.json()["reason"], "history_changed");
}

#[tokio::test]
async fn a_place_that_the_log_has_lost_is_told_with_the_reason() {
    let tree = Tree::start().await;
    tree.done("d", &[folder("a")]).await;
    for query in [
        "cursor=3",
        "cursor=1&since=chg_other",
        "cursor=18446744073709551615",
    ] {
        let answer = tree.changes(query).await;
        assert_eq!(code(&answer), is(400, "SYNC_CURSOR_INVALID"), "{query}");
        let body = answer.json();
        let told = (&body["reset"], &body["reason"]);
        assert_eq!(told, (&json!(true), &json!("history_changed")), "{query}");
    }
    for cursor in ["-1", "x", "", "1.0", "18446744073709551616"] {
        let answer = tree.changes(&format!("cursor={cursor}")).await;
        assert_eq!(code(&answer), is(400, "SYNC_CURSOR_INVALID"), "{cursor}");
    }
    let mut batch = tree.batch("d", &[folder("b")]);
    batch["base_cursor"] = json!(3);
    let answer = tree.apply(&batch).await;
    assert_eq!(code(&answer), is(400, "SYNC_CURSOR_INVALID"));
    assert_eq!(answer.json()["reset"], true);
    for (query, named) in [
        ("limit=0", "limit"),
        ("limit=5001", "limit"),
        ("wait=301", "wait"),
        ("since=chg_1", "since"),
        ("other=1", "other"),
    ] {
        let (status, code, detail) = problem(&tree.changes(query).await);
        assert_eq!((status, &*code), (422, "INVALID_REQUEST"), "{query}");
        assert!(detail.contains(named), "{query}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_answered_when_something_has_changed() {
    let tree = Tree::start().await;
    let paths = [
        format!(
            "/api/v1/sync/changes?share_id={}&cursor=1&wait=30",
            tree.share
        ),
        "/api/v1/sync/changes?cursor=1&wait=30".to_owned(),
    ];
    let waiting = paths.map(|path| {
        let request = tree.ann.request("GET", &path, Body::empty());
        let router = tree.app.router.clone();
        tokio::spawn(async move { tower::ServiceExt::oneshot(router, request).await.unwrap() })
    });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    tree.done("d", &[folder("a")]).await;
    for waiting in waiting {
        let response = waiting.await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        let page: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(page["changes"][0]["new_path"], "/a", "{page}");
    }
    let empty = tree.changes("cursor=2&wait=1").await.json();
    assert_eq!(
        (&empty["changes"], &empty["cursor"]),
        (&json!([]), &json!(2))
    );
}

#[tokio::test]
async fn pages_of_a_snapshot_hold_each_node_once_and_one_cursor() {
    let tree = Tree::start().await;
    let folders: Vec<Value> = ["c", "a", "e", "b", "d"].map(folder).to_vec();
    tree.done("d", &folders).await;
    let snapshot = format!("snapshot?share_id={}", tree.share);
    let (mut seen, mut page) = (Vec::new(), String::new());
    loop {
        let answer = tree.get(&format!("{snapshot}&limit=2{page}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        assert_eq!(
            (&body["cursor"], &body["share_id"]),
            (&json!(6), &json!(tree.share))
        );
        let items = body["items"].as_array().unwrap().iter();
        seen.extend(items.map(|item| item["id"].as_str().unwrap().to_owned()));
        // Writes go on meanwhile.
        tree.done("d", &[folder(&format!("a{}", seen.len()))]).await;
        match body["next"].as_str() {
            Some(next) => page = format!("&page={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);

    let mut inner = folder("inner");
    inner["new_path"] = json!("/a/inner");
    tree.done("d", &[inner]).await;
    let under = tree.get(&format!("{snapshot}&under=a")).await.json();
    assert_eq!(under["items"].as_array().unwrap().len(), 1);
    assert_eq!(under["items"][0]["path"], "/a/inner");
    let all = tree.get(&snapshot).await.json()["items"].clone();
    assert_eq!(
        tree.get(&format!("{snapshot}&under=root")).await.json()["items"],
        all
    );
    let missing = tree.get(&format!("{snapshot}&under=none")).await;
    assert_eq!(code(&missing), is(404, "NOT_FOUND"));
    for page in ["x", "1-", "-a", "1-a/b"] {
        let answer = tree.get(&format!("{snapshot}&page={page}")).await;
        assert_eq!(code(&answer), is(422, "INVALID_REQUEST"), "{page}");
    }
}

#[tokio::test]
async fn a_conflict_without_a_resolution_ends_the_batch_and_says_where() {
    let tree = Tree::start().await;
    tree.done("d", &[folder("a")]).await;
    tree.done("d", &[rename("a", "x")]).await;
    let mut batch = tree.batch("e", &[folder("b"), rename("a", "y"), folder("c")]);
    batch["base_cursor"] = json!(2);
    let answer = tree.apply(&batch).await;
    let (status, code, detail) = problem(&answer);
    assert_eq!((status, &*code), (409, "SYNC_CONFLICT"));
    assert!(detail.starts_with("changes[1]: "), "{detail}");
    let body = answer.json();
    assert_eq!(
        (&body["index"], &body["server"]["path"]),
        (&json!(1), &json!("/x"))
    );
    assert_eq!(body["applied"][0]["path"], "/b");
    assert_eq!(tree.changes("").await.json()["cursor"], 4);
}

#[tokio::test]
async fn a_held_change_is_listed_until_it_is_resolved() {
    let tree = Tree::start().await;
    tree.done("d", &[folder("a")]).await;
    tree.done("d", &[rename("a", "x")]).await;
    let mut batch = tree.batch("e", &[rename("a", "y")]);
    batch["base_cursor"] = json!(2);
    batch["conflict_resolution"] = json!("MANUAL");
    let held = tree.apply(&batch).await;
    assert_eq!(held.status, 200, "{}", held.text());
    let held = held.json()["conflicts"][0].clone();
    assert_eq!(
        (&held["outcome"], &held["reason"]),
        (&json!("held"), &json!("moved"))
    );
    let id = held["conflict_id"].as_str().unwrap();

    let listed = async |query: &str| {
        let answer = tree.get(&format!("conflicts?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json().as_array().unwrap().clone()
    };
    let conflict = &listed("").await[0];
    assert_eq!(
        (&conflict["id"], &conflict["device_id"]),
        (&json!(id), &json!("e"))
    );
    assert_eq!(
        (&conflict["server_path"], &conflict["client_path"]),
        (&json!("/x"), &json!("/y"))
    );
    assert_eq!(conflict["resolution"], json!(null));
    let share = &tree.share;
    for (query, count) in [
        (format!("share_id={share}"), 1),
        (format!("share_id={share}&device_id=e"), 1),
        ("device_id=d".to_owned(), 0),
    ] {
        assert_eq!(listed(&query).await.len(), count, "{query}");
    }
    let status = |device: &str| format!("status?share_id={share}&device_id={device}");
    assert_eq!(tree.get(&status("e")).await.json()["has_conflicts"], true);
    assert_eq!(tree.get(&status("d")).await.json()["has_conflicts"], false);

    // Nobody sees it who does not see the share, and no reader resolves it.
    let bob = User::new("bob");
    let resolve = |by: &str| format!("/api/v1/sync/conflicts/{id}/resolve?resolution={by}");
    let as_bob = async || {
        let answer = bob
            .send(&tree.app, "POST", &resolve("SERVER_WINS"), &json!(null))
            .await;
        code(&answer)
    };
    assert_eq!(
        bob.get(&tree.app, "/api/v1/sync/conflicts").await.json(),
        json!([])
    );
    assert_eq!(as_bob().await, is(404, "NOT_FOUND"));
    tree.ann.grant(&tree.app, share, "bob", "read").await;
    assert_eq!(as_bob().await, is(403, "FORBIDDEN"));

    let by_hand = tree
        .ann
        .send(&tree.app, "POST", &resolve("MANUAL"), &json!(null))
        .await;
    assert_eq!(code(&by_hand), is(422, "INVALID_REQUEST"));
    let unknown = tree
        .ann
        .send(&tree.app, "POST", &resolve("COIN"), &json!(null))
        .await;
    assert_eq!(code(&unknown), is(422, "INVALID_REQUEST"));
    let resolved = tree
        .ann
        .send(&tree.app, "POST", &resolve("CLIENT_WINS"), &json!(null))
        .await;
    assert_eq!(resolved.status, 200, "{}", resolved.text());
    let body = resolved.json();
    assert_eq!(body["resolution"], "CLIENT_WINS");
    assert_eq!(body["result"]["path"], "/y", "{body}");
    let again = tree
        .ann
        .send(&tree.app, "POST", &resolve("CLIENT_WINS"), &json!(null))
        .await;
    assert_eq!((again.status.as_u16(), again.json()), (200, body.clone()));
    let other = tree
        .ann
        .send(&tree.app, "POST", &resolve("SERVER_WINS"), &json!(null))
        .await;
    assert_eq!(code(&other), is(409, "SYNC_CONFLICT"));
    assert!(listed("").await.is_empty());
    assert_eq!(listed("include_resolved=true").await, [body]);
    assert_eq!(tree.get(&status("e")).await.json()["has_conflicts"], false);
    let missing = "/api/v1/sync/conflicts/cnf_0/resolve?resolution=CLIENT_WINS";
    let missing = tree
        .ann
        .send(&tree.app, "POST", missing, &json!(null))
        .await;
    assert_eq!(code(&missing), is(404, "NOT_FOUND"));
}

#[tokio::test]
async fn who_may_not_write_applies_nothing() {
    let tree = Tree::start().await;
    let (bob, reader) = (
        User::new("bob"),
        User::of("t", "ann", &[], &[Scope::FilesRead]),
    );
    bob.register(&tree.app, "d").await;
    let batch = tree.batch("d", &[folder("a")]);
    let as_user = async |user: &User| {
        let answer = user.send(&tree.app, "POST", APPLY, &batch).await;
        code(&answer)
    };
    assert_eq!(as_user(&reader).await, is(403, "FORBIDDEN"));
    assert_eq!(as_user(&bob).await, is(404, "NOT_FOUND"));
    let hidden = format!("/api/v1/sync/changes?share_id={}", tree.share);
    assert_eq!(
        code(&bob.get(&tree.app, &hidden).await),
        is(404, "NOT_FOUND")
    );
    tree.ann.grant(&tree.app, &tree.share, "bob", "read").await;
    assert_eq!(as_user(&bob).await, is(403, "FORBIDDEN"));
    assert_eq!(bob.get(&tree.app, &hidden).await.status, 200);
    tree.ann.grant(&tree.app, &tree.share, "bob", "write").await;

    let off = json!({"is_active": false});
    bob.send(&tree.app, "PATCH", &device("d"), &off).await;
    assert_eq!(as_user(&bob).await, is(403, "DEVICE_INACTIVE"));
    assert_eq!(bob.get(&tree.app, &hidden).await.status, 200);
    for unknown in ["none", "", "d:cursors", "a/b"] {
        let answer = tree.apply(&tree.batch(unknown, &[folder("a")])).await;
        assert_eq!(code(&answer), is(404, "NOT_FOUND"), "{unknown}");
    }
    // Two grants, and no change.
    assert_eq!(tree.changes("").await.json()["cursor"], 3);
}

#[tokio::test]
async fn deletions_beyond_the_limit_of_a_share_need_to_be_confirmed() {
    let tree = Tree::start().await;
    tree.done("d", &["a", "b", "c", "e"].map(folder)).await;
    let path = format!("{SHARES}/{}", tree.share);
    let limit = json!({"mass_delete_limit": 50});
    tree.ann.send(&tree.app, "PATCH", &path, &limit).await;
    let deletions = ["a", "b", "c"].map(deletion);
    let refused = tree.apply(&tree.batch("d", &deletions)).await;
    assert_eq!(code(&refused), is(422, "SYNC_MASS_DELETE"));
    assert_eq!(refused.json()["index"], 2);
    let batch = tree.batch("d", &deletions[2..]);
    let confirmed = format!("{APPLY}?confirm=true");
    let confirmed = tree.ann.send(&tree.app, "POST", &confirmed, &batch).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
}

#[tokio::test]
async fn a_batch_that_breaks_the_schema_is_refused_as_a_whole() {
    let tree = Tree::start().await;
    let names: Vec<String> = (0..300).map(|number| format!("f{number}")).collect();
    let many: Vec<Value> = names.iter().map(|name| folder(name)).collect();
    tree.done("d", &many).await;
    let many = tree.batch("d", &vec![folder("a"); 1001]);
    assert_eq!(code(&tree.apply(&many).await), is(413, "TOO_LARGE"));
    for (field, value) in [
        ("changes", json!({})),
        ("changes", json!([{"resource_type": "link"}])),
        ("changes", json!([{"invented": 1}])),
        ("conflict_resolution", json!("COIN")),
        ("base_cursor", json!(-1)),
        ("sent_at", json!("yesterday")),
        ("invented", json!(1)),
    ] {
        let mut batch = tree.batch("d", &[folder("a")]);
        batch[field] = value.clone();
        let answer = tree.apply(&batch).await;
        assert_eq!(code(&answer), is(422, "INVALID_REQUEST"), "{field} {value}");
    }
    // A change that breaks a rule is rejected by itself.
    let mut bad = folder("b");
    bad["new_path"] = json!("/b/../c");
    let answer = tree
        .apply(&tree.batch("d", &[bad, folder("a")]))
        .await
        .json();
    let rejected = &answer["conflicts"][0];
    assert_eq!(
        (&rejected["outcome"], &rejected["code"]),
        (&json!("rejected"), &json!("SYNC_NAME"))
    );
    assert_eq!(answer["applied"][0]["path"], "/a");
    let named = |folder_id: &str| {
        let mut change = folder(folder_id);
        change["id"] = json!("1");
        tree.batch("d", &[change])
    };
    let first = tree.apply(&named("c")).await.json();
    assert_eq!(tree.apply(&named("c")).await.json(), first);
    let reused = tree.apply(&named("f")).await;
    assert_eq!(code(&reused), is(422, "SYNC_ID_REUSED"));
}

#[tokio::test]
async fn preferences_take_the_paths_of_folders() {
    let tree = Tree::start().await;
    tree.done("d", &[folder("a")]).await;
    let path = format!("{}/preferences/{}", device("d"), tree.share);
    let wish = json!({"selected_folders": ["/A", "b"], "excluded_folders": ["/"]});
    let put = tree.ann.send(&tree.app, "PUT", &path, &wish).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(put.json()["selected_folders"], json!(["a", "b"]));
    assert_eq!(put.json()["excluded_folders"], json!(["root"]));
    for missing in ["/none", "/a/b"] {
        let wish = json!({"selected_folders": [missing]});
        let answer = tree.ann.send(&tree.app, "PUT", &path, &wish).await;
        assert_eq!(code(&answer), is(422, "INVALID_REQUEST"), "{missing}");
    }
    let bad = json!({"selected_folders": ["/a/../b"]});
    let answer = tree.ann.send(&tree.app, "PUT", &path, &bad).await;
    assert_eq!(code(&answer), is(422, "SYNC_NAME"));
    let hidden = format!("{}/preferences/shr_0", device("d"));
    let answer = tree.ann.send(&tree.app, "PUT", &hidden, &wish).await;
    assert_eq!(code(&answer), is(404, "NOT_FOUND"));
}
