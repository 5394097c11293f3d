use serde_json::{Value, json};

use super::{User, code, device, is, problem};
use crate::app::App;

fn all() -> String {
    format!("{}/preferences", device("d"))
}

fn of(share: &str) -> String {
    format!("{}/{share}", all())
}

fn without_time(mut preference: Value) -> Value {
    let time = preference.as_object_mut().unwrap().remove("updated_at");
    assert!(time.unwrap().as_str().unwrap().ends_with('Z'));
    preference
}

#[tokio::test]
async fn a_preference_is_replaced_as_a_whole_and_null_is_all() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let share = ann.share(&app).await;
    ann.register(&app, "d").await;
    assert_eq!(ann.get(&app, &all()).await.json(), json!([]));
    let wish =
        json!({"sync_enabled": false, "selected_folders": [], "excluded_folders": ["fld_1"]});
    let put = ann.send(&app, "PUT", &of(&share), &wish).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let mut expected = wish.clone();
    expected["share_id"] = json!(share);
    assert_eq!(without_time(put.json()), expected);
    assert_eq!(ann.get(&app, &all()).await.json(), json!([put.json()]));

    let put = ann.send(&app, "PUT", &of(&share), &json!({})).await;
    let expected = json!({
        "share_id": share, "sync_enabled": true, "selected_folders": null,
        "excluded_folders": null,
    });
    assert_eq!(without_time(put.json()), expected);
}

#[tokio::test]
async fn several_preferences_are_kept_together_or_not_at_all() {
    let app = App::start().await;
    let (ann, bob) = (User::new("ann"), User::new("bob"));
    let (one, two) = (ann.share(&app).await, ann.share(&app).await);
    let hidden = bob.share(&app).await;
    ann.register(&app, "d").await;
    let wishes = |shares: &[&str]| {
        let wishes = shares
            .iter()
            .map(|share| json!({"share_id": share, "sync_enabled": false}));
        json!({"preferences": wishes.collect::<Vec<_>>()})
    };
    let refused = ann
        .send(&app, "PUT", &all(), &wishes(&[&one, &hidden]))
        .await;
    assert_eq!(code(&refused), is(404, "NOT_FOUND"));
    assert_eq!(ann.get(&app, &all()).await.json(), json!([]));

    let kept = ann.send(&app, "PUT", &all(), &wishes(&[&one])).await;
    assert_eq!(kept.status, 200, "{}", kept.text());
    ann.send(&app, "PUT", &of(&two), &json!({})).await;
    let listed = ann.get(&app, &all()).await.json();
    let enabled = |share: &str| {
        let of_share = listed
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["share_id"] == share);
        of_share.unwrap()["sync_enabled"].clone()
    };
    assert_eq!((enabled(&one), enabled(&two)), (json!(false), json!(true)));
    let none = ann.send(&app, "PUT", &all(), &wishes(&[])).await;
    assert_eq!((none.status.as_u16(), none.json()), (200, json!([])));
}

#[tokio::test]
async fn what_is_wrong_with_a_preference_is_named_by_field() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let share = ann.share(&app).await;
    ann.register(&app, "d").await;
    let many = vec!["fld_1"; 1001];
    for (field, value) in [
        ("sync_enabled", json!("yes")),
        ("selected_folders", json!("fld_1")),
        ("selected_folders", json!([""])),
        ("selected_folders", json!(["a b"])),
        ("excluded_folders", json!(many)),
        ("excluded_folders", json!([1])),
        ("other", json!(1)),
    ] {
        let refused = ann
            .send(&app, "PUT", &of(&share), &json!({field: value}))
            .await;
        let (status, code, detail) = problem(&refused);
        assert_eq!(
            (status, &*code),
            (422, "INVALID_REQUEST"),
            "{field} {value}"
        );
        assert!(detail.contains(field), "{detail}");
    }
    let twice = json!({"preferences": [{"share_id": share}, {"share_id": share}]});
    let (status, _, detail) = problem(&ann.send(&app, "PUT", &all(), &twice).await);
    assert_eq!(status, 422);
    assert!(detail.starts_with("preferences[1].share_id: "), "{detail}");
    assert_eq!(ann.get(&app, &all()).await.json(), json!([]));
}

#[tokio::test]
async fn preferences_go_with_their_device() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let share = ann.share(&app).await;
    assert_eq!(code(&ann.get(&app, &all()).await), is(404, "NOT_FOUND"));
    ann.register(&app, "d").await;
    ann.send(&app, "PUT", &of(&share), &json!({})).await;
    ann.send(&app, "DELETE", &device("d"), &json!(null)).await;
    let put = ann.send(&app, "PUT", &of(&share), &json!({})).await;
    assert_eq!(code(&put), is(404, "NOT_FOUND"));
    ann.register(&app, "d").await;
    assert_eq!(ann.get(&app, &all()).await.json(), json!([]));
}
