use serde_json::{Value, json};
use sluice_api::auth::Scope;

use super::{ALL, SHARES, User, code, is, problem};
use crate::app::App;

fn at(share: &str) -> String {
    format!("{SHARES}/{share}")
}

async fn ids(app: &App, user: &User) -> Vec<String> {
    let page = user.get(app, SHARES).await.json();
    let shares = page["items"].as_array().unwrap();
    shares
        .iter()
        .map(|share| share["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_share_is_made_changed_and_deleted() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let body = json!({"name": "Photos", "quota": 1000, "mass_delete_limit": 50});
    let made = ann.send(&app, "POST", SHARES, &body).await;
    assert_eq!(made.status, 201);
    let share = made.json();
    let id = share["id"].as_str().unwrap();
    assert!(id.starts_with("shr_"));
    assert_eq!(made.header("location"), at(id));
    let expected = json!({
        "id": id, "name": "Photos", "owner": "ann", "level": "admin", "quota": 1000, "used": 0,
        "reserved": 0, "portable_names": true, "mass_delete_limit": 50, "head": 1, "floor": 1,
        "created_at": share["created_at"],
    });
    assert_eq!(share, expected);
    assert_eq!(ann.get(&app, &at(id)).await.json(), expected);
    assert_eq!(ids(&app, &ann).await, [id]);

    // What is left out stays, null takes a limit away.
    let change = json!({"quota": null, "portable_names": false});
    let changed = ann.send(&app, "PATCH", &at(id), &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let changed = changed.json();
    assert_eq!(
        (&changed["quota"], &changed["portable_names"]),
        (&json!(null), &json!(false))
    );
    assert_eq!(
        (&changed["name"], &changed["mass_delete_limit"]),
        (&json!("Photos"), &json!(50))
    );

    let deleted = ann.send(&app, "DELETE", &at(id), &json!(null)).await;
    assert_eq!(
        (deleted.status.as_u16(), deleted.text()),
        (204, String::new())
    );
    assert_eq!(code(&ann.get(&app, &at(id)).await), is(404, "NOT_FOUND"));
    assert_eq!(ids(&app, &ann).await, [""; 0]);
}

#[tokio::test]
async fn a_level_allows_what_it_says_and_no_more() {
    let app = App::start().await;
    let (ann, bob) = (User::new("ann"), User::of("t", "bob", &["staff"], ALL));
    let share = ann.share(&app).await;
    let as_bob = async |method: &str, path: &str, body: Value| {
        let answer = bob
            .send(&app, method, &format!("{}{path}", at(&share)), &body)
            .await;
        answer.status.as_u16()
    };
    let tries: [(&str, &str, Value); 5] = [
        ("GET", "", json!(null)),
        ("GET", "/grants", json!(null)),
        ("PATCH", "", json!({"name": "x"})),
        ("PUT", "/grants/groups/g", json!({"level": "read"})),
        ("DELETE", "/grants/groups/g", json!(null)),
    ];
    let all = async || {
        let mut seen = Vec::new();
        for (method, path, body) in &tries {
            seen.push(as_bob(method, path, body.clone()).await);
        }
        seen
    };
    assert_eq!(all().await, [404; 5]);
    assert_eq!(ids(&app, &bob).await, [""; 0]);
    for level in ["read", "write"] {
        ann.grant(&app, &share, "bob", level).await;
        assert_eq!(all().await, [200, 403, 403, 403, 403], "{level}");
        assert_eq!(bob.get(&app, &at(&share)).await.json()["level"], level);
        assert_eq!(as_bob("DELETE", "", json!(null)).await, 403);
    }
    ann.grant(&app, &share, "bob", "admin").await;
    assert_eq!(all().await, [200, 200, 200, 204, 204]);

    let revoke = format!("{}/grants/users/bob", at(&share));
    assert_eq!(
        ann.send(&app, "DELETE", &revoke, &json!(null)).await.status,
        204
    );
    assert_eq!(all().await, [404; 5]);
    let again = ann.send(&app, "DELETE", &revoke, &json!(null)).await;
    assert_eq!(code(&again), is(404, "NOT_FOUND"));

    // A group's grant, and the most of several.
    let staff = format!("{}/grants/groups/staff", at(&share));
    ann.send(&app, "PUT", &staff, &json!({"level": "write"}))
        .await;
    ann.grant(&app, &share, "bob", "read").await;
    assert_eq!(bob.get(&app, &at(&share)).await.json()["level"], "write");
    assert_eq!(ids(&app, &bob).await, [&*share]);
    let grants = ann
        .get(&app, &format!("{}/grants", at(&share)))
        .await
        .json();
    let expected = json!([{"group": "staff", "level": "write"}, {"user": "bob", "level": "read"}]);
    assert_eq!(grants, expected);
    let another_bob = User::of("other", "bob", &["staff"], ALL);
    let answer = another_bob.get(&app, &at(&share)).await;
    assert_eq!(code(&answer), is(404, "NOT_FOUND"));
}

#[tokio::test]
async fn the_administrator_of_a_tenant_administers_all_its_shares() {
    let app = App::start().await;
    let scopes = [Scope::FilesRead, Scope::FilesWrite, Scope::TenantAdmin];
    let (ann, root) = (User::new("ann"), User::of("t", "root", &[], &scopes));
    let share = ann.share(&app).await;
    assert_eq!(ids(&app, &root).await, [&*share]);
    root.grant(&app, &share, "bob", "read").await;
    let elsewhere = User::of("other", "root", &[], &scopes);
    assert_eq!(
        code(&elsewhere.get(&app, &at(&share)).await),
        is(404, "NOT_FOUND")
    );
}

#[tokio::test]
async fn pages_of_shares_hold_each_of_them_once() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let mut shares = Vec::new();
    for _ in 0..5 {
        shares.push(ann.share(&app).await);
    }
    shares.sort();
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = ann.get(&app, &format!("{SHARES}{query}")).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        seen.extend(
            items
                .iter()
                .map(|share| share["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => query = format!("?limit=2&page={next}"),
            None => break,
        }
    }
    assert_eq!(seen, shares);
}

#[tokio::test]
async fn what_is_wrong_with_a_share_or_grant_is_named_by_field() {
    let (app, ann) = (App::start().await, User::new("ann"));
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("x".repeat(257))),
        ("name", json!("a\nb")),
        ("name", json!(null)),
        ("quota", json!(-1)),
        ("quota", json!(1_u64 << 53)),
        ("portable_names", json!(1)),
        ("mass_delete_limit", json!(0)),
        ("mass_delete_limit", json!(101)),
        ("other", json!(1)),
    ] {
        let mut body = json!({"name": "s"});
        body[field] = value.clone();
        let (status, code, detail) = problem(&ann.send(&app, "POST", SHARES, &body).await);
        assert_eq!((status, &*code), (422, "INVALID_REQUEST"), "{body}");
        assert!(detail.contains(field), "{body}: {detail}");
    }
    for limit in ["0", "1001", "x"] {
        let answer = ann.get(&app, &format!("{SHARES}?limit={limit}")).await;
        assert_eq!(code(&answer), is(422, "INVALID_REQUEST"), "{limit}");
    }
    let share = ann.share(&app).await;
    let long = "x".repeat(257);
    for (path, body) in [
        (format!("users/{long}"), json!({"level": "read"})),
        ("groups/a%00".to_owned(), json!({"level": "read"})),
        ("users/bob".to_owned(), json!({"level": "owner"})),
        ("users/bob".to_owned(), json!({})),
        ("users/ann".to_owned(), json!({"level": "read"})),
    ] {
        let path = format!("{}/grants/{path}", at(&share));
        let answer = ann.send(&app, "PUT", &path, &body).await;
        assert_eq!(code(&answer), is(422, "INVALID_REQUEST"), "{path} {body}");
    }
}
