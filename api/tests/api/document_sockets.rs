use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sluice_api::auth::{Scope, mint};
use sluice_api::{ApiConfig, StreamLimits};
use tokio_tungstenite::tungstenite::{Error, Message};
use tower::ServiceExt as _;

use crate::app::{App, LONG, SECRET, brief_token, get, token, token_of};
use crate::documents::{ALL, PATH, at, call, create};
use crate::sockets::{self, Socket, open};

async fn serve(app: &App) -> String {
    sockets::serve(app, &format!("{PATH}/ws")).await
}

/// A client of the documents' WebSocket.
impl Socket {
    /// Of a caller who may read.
    async fn open(app: &App) -> Self {
        let mut socket = open(&serve(app).await, Some(&token(&[Scope::DocsRead])))
            .await
            .unwrap();
        assert_eq!(socket.next().await["type"], "ready");
        socket
    }

    async fn expect(&mut self, kind: &str, id: &str, revision: u64) -> Value {
        let frame = self.next().await;
        assert_eq!(
            (&frame["type"], &frame["id"], &frame["revision"]),
            (&json!(kind), &json!(id), &json!(revision))
        );
        frame["document"].clone()
    }

    async fn subscribe(&mut self, id: &str, revision: Option<u64>) {
        self.say(json!({"type": "subscribe", "id": id, "revision": revision}))
            .await;
        let subscribed = json!({"type": "subscribed", "id": id});
        assert_eq!(self.next().await, subscribed);
    }
}

#[tokio::test]
async fn watched_documents_tell_what_they_are_and_every_change() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({"n": 1})).await;
    create(&app, "b", json!({})).await;
    create(&app, "c", json!({})).await;
    let mut socket = Socket::open(&app).await;
    socket.subscribe("a", None).await;
    let present = socket.expect("present", "a", 1).await;
    assert_eq!(present, app.get(&at("a"), ALL).await.json());
    socket.subscribe("b", Some(1)).await;

    call(&app, "PUT", &at("c"), &json!({"data": {}})).await;
    call(&app, "PUT", &at("b"), &json!({"data": {}})).await;
    socket.expect("change", "b", 2).await;
    call(&app, "DELETE", &at("a"), &Value::Null).await;
    assert_eq!(socket.expect("change", "a", 2).await["deleted"], true);
    call(&app, "POST", &at("a/restore"), &Value::Null).await;
    socket.expect("change", "a", 3).await;

    socket.say(json!({"type": "unsubscribe", "id": "a"})).await;
    let unsubscribed = json!({"type": "unsubscribed", "id": "a"});
    assert_eq!(socket.next().await, unsubscribed);
    call(&app, "PUT", &at("a"), &json!({"data": {}})).await;
    call(&app, "PUT", &at("b"), &json!({"data": {}})).await;
    socket.expect("change", "b", 3).await;
    socket.say(json!({"type": "ping"})).await;
    assert_eq!(socket.next().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn a_subscription_goes_on_from_a_revision_or_says_that_it_cannot() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({"n": 1})).await;
    for n in 2..=20 {
        call(&app, "PUT", &at("a"), &json!({"data": {"n": n}})).await;
    }
    let mut socket = Socket::open(&app).await;
    socket.subscribe("a", Some(3)).await;
    for n in 4..=20 {
        let document = socket.expect("change", "a", n).await;
        assert_eq!(document["data"]["n"], n);
    }
    // None of this document: another one of its id was there before.
    for none_of_it in [21, u64::MAX] {
        socket.subscribe("a", Some(none_of_it)).await;
        socket.expect("reset", "a", 20).await;
    }
    let former = json!({"type": "subscribe", "id": "a", "revision": "20-1"});
    socket.say(former).await;
    socket.next().await;
    socket.expect("reset", "a", 20).await;
}

#[tokio::test]
async fn what_cannot_be_watched_is_told_and_the_others_go_on() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({})).await;
    create(&app, "deleted", json!({})).await;
    call(&app, "DELETE", &at("deleted"), &Value::Null).await;
    let mut socket = Socket::open(&app).await;
    for (id, error) in [
        ("missing", "not_found"),
        ("deleted", "not_found"),
        ("a/b", "invalid_request"),
    ] {
        socket.say(json!({"type": "subscribe", "id": id})).await;
        let told = socket.next().await;
        assert_eq!(
            (&told["type"], &told["id"], &told["error"]),
            (&json!("error"), &json!(id), &json!(error))
        );
    }
    socket.say(json!({"type": "subscribe"})).await;
    let told = socket.next().await;
    assert!(told["message"].as_str().unwrap().starts_with("frame: "));
    socket.subscribe("a", None).await;
    socket.expect("present", "a", 1).await;
}

#[tokio::test]
async fn the_end_of_a_document_ends_its_subscription() {
    let app = App::start_with_json().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let soon = now.unwrap().as_millis() as u64 + 1_000;
    let body = json!({"id": "a", "data": {}, "expiresAt": soon});
    call(&app, "POST", PATH, &body).await;
    let mut socket = Socket::open(&app).await;
    socket.subscribe("a", None).await;
    socket.expect("present", "a", 1).await;
    assert_eq!(socket.next().await, json!({"type": "gone", "id": "a"}));
}

#[tokio::test]
async fn the_token_comes_with_the_request_or_in_the_first_frame() {
    let app = App::start_with_json().await;
    let url = serve(&app).await;
    for (token, status) in [("nonsense", 401), (&token(&[Scope::DocsWrite]), 403)] {
        let refused = open(&url, Some(token)).await;
        assert!(matches!(refused, Err(Error::Http(answer)) if answer.status() == status));
    }
    let good = token(&[Scope::DocsRead]);
    for (frame, expected) in [
        (json!({"type": "auth", "token": "nonsense"}), Err(4401)),
        (
            json!({"type": "auth", "token": token(&[Scope::Admin])}),
            Err(4403),
        ),
        (json!({"type": "subscribe", "id": "a"}), Err(4401)),
        (json!({"type": "auth", "token": good}), Ok("ready")),
    ] {
        let mut socket = open(&url, None).await.unwrap();
        socket.say(frame).await;
        match expected {
            Ok(kind) => assert_eq!(socket.next().await["type"], kind),
            Err(code) => assert_eq!(socket.closed().await, code),
        }
    }
}

#[tokio::test]
async fn a_connection_lasts_as_long_as_its_token_which_may_be_renewed() {
    let app = App::start_with_json().await;
    let url = serve(&app).await;
    let mut renewed = open(&url, Some(&brief_token(3))).await.unwrap();
    let mut expiring = open(&url, Some(&brief_token(3))).await.unwrap();
    renewed.next().await;
    let longer = mint(SECRET, "u", &[Scope::DocsRead], Duration::from_secs(600)).unwrap();
    renewed.say(json!({"type": "auth", "token": longer})).await;
    assert_eq!(renewed.next().await["type"], "ready");
    assert_eq!(expiring.closed().await, 4401);
    renewed.say(json!({"type": "ping"})).await;
    assert_eq!(renewed.next().await["type"], "pong");
}

#[tokio::test]
async fn streams_of_events_end_with_the_token() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({})).await;
    let events = app.send(crate::app::get(&at("a/events"), &brief_token(2)));
    assert!(events.await.text().contains("present"));
}

#[tokio::test]
async fn a_shutdown_says_farewell() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({})).await;
    let mut socket = Socket::open(&app).await;
    socket.subscribe("a", None).await;
    app.shutdown.cancel();
    assert_eq!(socket.closed().await, 1001);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed_and_costs_little() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({})).await;
    let mut socket = Socket::open(&app).await;
    socket.subscribe("a", None).await;
    // Far more than what the sockets on the way hold.
    let large = json!({"data": {"x": "x".repeat(1_000_000)}});
    for _ in 0..30 {
        assert_eq!(call(&app, "PUT", &at("a"), &large).await.status, 200);
    }
    // Longer than any client is given.
    tokio::time::sleep(Duration::from_secs(14)).await;
    let mut received = 0;
    loop {
        match socket.0.next().await {
            Some(Ok(Message::Text(_))) => received += 1,
            Some(Ok(Message::Close(frame))) => {
                assert_eq!(u16::from(frame.unwrap().code), 4408);
                break;
            }
            // It has waited too long even for the farewell.
            Some(Err(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(received < 30, "{received}");
}

#[tokio::test]
async fn a_frame_that_is_too_long_or_binary_closes_the_connection() {
    let app = App::start_with_json().await;
    let mut socket = Socket::open(&app).await;
    socket.say(json!({"type": "x".repeat(20_000)})).await;
    assert_eq!(socket.closed().await, 1009);
    let mut socket = Socket::open(&app).await;
    socket.0.send(Message::binary(vec![0])).await.unwrap();
    assert_eq!(socket.closed().await, 1003);
}

#[tokio::test]
async fn one_connection_watches_so_many_documents() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({})).await;
    let mut socket = Socket::open(&app).await;
    for n in 0..101 {
        let id = format!("d{n}");
        create(&app, &id, json!({})).await;
        socket
            .say(json!({"type": "subscribe", "id": id, "revision": 1}))
            .await;
        let kind = if n < 100 { "subscribed" } else { "error" };
        assert_eq!(socket.next().await["type"], kind);
    }
    // One that is watched already is watched anew.
    socket.subscribe("d7", None).await;
    socket.expect("present", "d7", 1).await;
}

#[tokio::test]
async fn a_document_may_be_called_ws() {
    let app = App::start_with_json().await;
    create(&app, "ws", json!({"n": 1})).await;
    assert_eq!(app.get(&at("ws"), ALL).await.json()["id"], "ws");
    let put = call(&app, "PUT", &at("ws"), &json!({"data": {}})).await;
    assert_eq!(put.json()["revision"], 2);
    let deleted = call(&app, "DELETE", &at("ws"), &Value::Null).await;
    assert_eq!(deleted.json()["revision"], 3);
}

#[tokio::test]
async fn a_user_has_so_many_streams_and_no_more() {
    let app = App::start_with_json_and(ApiConfig {
        streams: StreamLimits { all: 3, of_user: 1 },
        ..ApiConfig::default()
    })
    .await;
    create(&app, "a", json!({})).await;
    let (url, own) = (serve(&app).await, token_of("u", &[Scope::DocsRead]));
    let events = || get(&at("a/events"), &own);
    let open_events = app.router.clone().oneshot(events()).await.unwrap();
    assert_eq!(open_events.status(), 200);

    // The same user, by whichever way.
    let refused = app.send(events()).await.error();
    assert_eq!(refused, (429, "too_many_streams".to_owned()));
    let Err(Error::Http(refused)) = open(&url, Some(&own)).await else {
        panic!("a second stream is open");
    };
    assert_eq!(refused.status(), 429);
    let mut socket = open(&url, None).await.unwrap();
    socket.say(json!({"type": "auth", "token": own})).await;
    assert_eq!(socket.closed().await, 4429);
    drop(socket);

    // Others, until there is no room for anybody.
    let mut others = Vec::new();
    let refused = loop {
        assert!(others.len() < 3);
        let other = token_of(&format!("u{}", others.len()), &[Scope::DocsRead]);
        match open(&url, Some(&other)).await {
            Ok(socket) => others.push(socket),
            Err(Error::Http(refused)) => break refused,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(refused.status(), 503);

    drop((open_events, others));
    let deadline = tokio::time::Instant::now() + LONG;
    while app.router.clone().oneshot(events()).await.unwrap().status() != 200 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
