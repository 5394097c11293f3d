//! Cursors and status.

use serde_json::json;

use super::{User, code, device, is};
use crate::app::{Answer, App};

async fn advance(app: &App, user: &User, share: &str, position: &str) -> Answer {
    let path = format!("/api/v1/sync/cursor?share_id={share}&device_id=d&position={position}");
    user.send(app, "POST", &path, &json!(null)).await
}

async fn status(app: &App, user: &User, share: &str) -> Answer {
    let path = format!("/api/v1/sync/status?share_id={share}&device_id=d");
    user.get(app, &path).await
}

#[tokio::test]
async fn a_cursor_is_made_at_the_head_and_moves_ahead_only() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let share = ann.share(&app).await;
    ann.register(&app, "d").await;
    let expected = json!({
        "cursor_position": 1, "last_sync_at": null, "pending_changes": 0, "has_conflicts": false,
        "needs_snapshot": true,
    });
    assert_eq!(status(&app, &ann, &share).await.json(), expected);
    ann.grant(&app, &share, "bob", "read").await;
    ann.grant(&app, &share, "bob", "write").await;
    assert_eq!(
        status(&app, &ann, &share).await.json()["pending_changes"],
        2
    );

    let moved = advance(&app, &ann, &share, "2").await;
    assert_eq!(moved.status, 200);
    let time = moved.json()["last_sync_at"].clone();
    assert!(time.is_string());
    let there = json!({"cursor_position": 2, "last_sync_at": time});
    assert_eq!(moved.json(), there);
    let back = advance(&app, &ann, &share, "0").await;
    assert_eq!((back.status.as_u16(), back.json()), (200, there));
    let expected = json!({
        "cursor_position": 2, "last_sync_at": time, "pending_changes": 1, "has_conflicts": false,
    });
    assert_eq!(status(&app, &ann, &share).await.json(), expected);
}

#[tokio::test]
async fn positions_that_are_none_or_past_the_head_are_invalid_cursors() {
    let (app, ann) = (App::start().await, User::new("ann"));
    let share = ann.share(&app).await;
    ann.register(&app, "d").await;
    for position in ["", "-1", "1.5", "x", "18446744073709551616"] {
        let answer = advance(&app, &ann, &share, position).await;
        assert_eq!(code(&answer), is(400, "SYNC_CURSOR_INVALID"), "{position}");
        assert!(answer.json().get("reset").is_none());
    }
    let answer = advance(&app, &ann, &share, "2").await;
    assert_eq!(code(&answer), is(400, "SYNC_CURSOR_INVALID"));
    let body = answer.json();
    assert_eq!(
        (&body["reset"], &body["reason"]),
        (&json!(true), &json!("history_changed"))
    );
}

#[tokio::test]
async fn a_share_that_may_not_be_seen_is_answered_as_one_that_is_not_there() {
    let app = App::start().await;
    let (ann, bob) = (User::new("ann"), User::new("bob"));
    let share = ann.share(&app).await;
    bob.register(&app, "d").await;
    let hidden = [
        advance(&app, &bob, &share, "0").await,
        status(&app, &bob, &share).await,
    ];
    let missing = [
        advance(&app, &bob, "shr_0", "0").await,
        status(&app, &bob, "shr_0").await,
    ];
    for (hidden, missing) in hidden.iter().zip(&missing) {
        assert_eq!(code(hidden), is(404, "NOT_FOUND"));
        assert_eq!(
            (hidden.status, &hidden.body),
            (missing.status, &missing.body)
        );
    }
    ann.grant(&app, &share, "bob", "read").await;
    assert_eq!(status(&app, &bob, &share).await.status, 200);
    let deleted = bob.send(&app, "DELETE", &device("d"), &json!(null)).await;
    assert_eq!(deleted.status, 204);
    assert_eq!(
        code(&status(&app, &bob, &share).await),
        is(404, "NOT_FOUND")
    );
}

#[tokio::test]
async fn a_query_that_lacks_or_invents_a_parameter_is_refused_by_name() {
    let (app, ann) = (App::start().await, User::new("ann"));
    for (query, named) in [
        ("share_id=s", "device_id"),
        ("device_id=d", "share_id"),
        ("share_id=s&device_id=d&other=1", "other"),
    ] {
        let answer = ann.get(&app, &format!("/api/v1/sync/status?{query}")).await;
        let (status, code, detail) = super::problem(&answer);
        assert_eq!((status, &*code), (422, "INVALID_REQUEST"));
        assert!(detail.contains(named), "{detail}");
    }
}
