//! What a server says of itself.

use std::time::Duration;

use sluice_test_support::TestValkey;
use sluice_valkey::{Fault, Notice, Valkey};

#[tokio::test]
async fn a_server_answers_and_says_what_it_is() {
    let server = TestValkey::start();
    let valkey = Valkey::at(&server.url()).unwrap();
    valkey.ping().await.unwrap();
    let info = valkey.server().await.unwrap();
    assert_eq!(info.name, "valkey");
    assert!(!info.version.is_empty());
    assert_eq!(info.json_module, None);
    assert!(info.append_only);
    assert_eq!(info.maxmemory_policy, "noeviction");
}

#[tokio::test]
async fn the_version_of_a_loaded_json_module_is_told() {
    let server = TestValkey::start_with_json();
    let valkey = Valkey::at(&server.url()).unwrap();
    let version = valkey.server().await.unwrap().json_module.unwrap();
    assert_eq!(version.split('.').count(), 3, "{version}");
    assert_eq!(valkey.json_module().await.unwrap(), Some(version.clone()));
    assert!(version.starts_with("2."), "{version}");
}

#[test]
fn a_malformed_url_is_refused_without_repeating_it() {
    let Err(error) = Valkey::at("redis//:secret@host") else {
        panic!("accepted");
    };
    assert!(!error.to_string().contains("secret"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_may_be_retried() {
    let port = sluice_test_support::free_port();
    let valkey = Valkey::at(&format!("redis://127.0.0.1:{port}")).unwrap();
    let error = valkey.ping().await.unwrap_err();
    assert!(!Fault::of(&error).is_final(), "{error}");
}

#[tokio::test]
async fn a_channel_that_is_given_up_and_taken_up_again_at_once_is_listened_to() {
    let server = TestValkey::start();
    let valkey = Valkey::at(&server.url()).unwrap();
    let limit = Duration::from_secs(10);
    for round in 0..50 {
        let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
        let listen = move |notice: Notice<'_>| {
            if let Notice::Message(message) = notice {
                let _ = sender.send(message.to_vec());
            }
        };
        // The one before it was dropped just now; what is published from here on is heard.
        let subscription = valkey.hub().subscribe("events", listen);
        assert!(subscription.live(limit).await, "round {round}");
        let mut publish = redis::cmd("SPUBLISH");
        publish.arg("events").arg(round);
        let _: u32 = valkey.query("publish", &publish).await.unwrap();
        let message = tokio::time::timeout(limit, messages.recv()).await.unwrap();
        assert_eq!(message.unwrap(), round.to_string().into_bytes());
    }
}

#[tokio::test]
async fn who_listens_to_another_channel_misses_nothing_while_one_is_given_up_and_taken_up_again() {
    let server = TestValkey::start();
    let valkey = Valkey::at(&server.url()).unwrap();
    let limit = Duration::from_secs(10);
    let (sender, mut subscribed) = tokio::sync::mpsc::unbounded_channel();
    let other = valkey.hub().subscribe("other", move |notice| {
        if matches!(notice, Notice::Subscribed) {
            let _ = sender.send(());
        }
    });
    assert!(other.live(limit).await);
    for round in 0..300 {
        let subscription = valkey.hub().subscribe("events", |_| {});
        assert!(subscription.live(limit).await, "round {round}");
        drop(subscription);
        // Until the server is asked to end it, at times.
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(other.live(limit).await);
    subscribed.recv().await.unwrap();
    assert!(subscribed.try_recv().is_err(), "it was subscribed to again");
}
