//! Sessions of the queue board.

use std::time::Duration;

use sluice_store::board::{MOST_SESSIONS, Session, Sessions};
use sluice_test_support::TestValkey;
use sluice_valkey::Valkey;

const HOUR: Duration = Duration::from_secs(3600);

fn start() -> (TestValkey, Sessions) {
    let server = TestValkey::start();
    let valkey = Valkey::at(&server.url()).unwrap();
    (server, Sessions::new(&valkey))
}

fn of(subject: &str) -> Session {
    Session {
        subject: Some(subject.to_owned()),
        expires_at: 4_000_000_000,
        read_only: false,
    }
}

fn keys(server: &TestValkey) -> Vec<String> {
    let mut keys = redis::cmd("KEYS");
    keys.arg("*").query(&mut server.connection()).unwrap()
}

#[tokio::test]
async fn a_session_lasts_until_it_is_closed_and_nobody_reads_its_id_in_valkey() {
    let (server, sessions) = start();
    let (first, second) = (
        of("ann"),
        Session {
            subject: None,
            ..of("")
        },
    );
    let id = sessions.open(&first, HOUR).await.unwrap();
    let other = sessions.open(&second, HOUR).await.unwrap();
    assert_eq!(id.len(), 64);
    assert_ne!(id, other);
    assert!(keys(&server).iter().all(|key| !key.contains(&id)));
    assert_eq!(sessions.find(&id).await.unwrap(), Some(first));
    sessions.close(&id).await.unwrap();
    sessions.close(&id).await.unwrap();
    assert_eq!(sessions.find(&id).await.unwrap(), None);
    assert_eq!(sessions.find("").await.unwrap(), None);
    assert_eq!(sessions.find(&other).await.unwrap(), Some(second));
}

#[tokio::test]
async fn valkey_drops_sessions_with_all_that_belongs_to_them() {
    let (server, sessions) = start();
    let id = sessions.open(&of("ann"), HOUR).await.unwrap();
    let brief = Duration::from_millis(50);
    sessions.open(&of("ann"), brief).await.unwrap();
    for key in keys(&server) {
        let mut ttl = redis::cmd("PTTL");
        let ttl: i64 = ttl.arg(&key).query(&mut server.connection()).unwrap();
        assert!((1..=3_600_000).contains(&ttl), "{key}: {ttl}");
    }
    assert!(sessions.find(&id).await.unwrap().is_some());
    sessions.close(&id).await.unwrap();

    sessions.open(&of("bob"), brief).await.unwrap();
    while keys(&server).iter().any(|key| key.contains("session")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_operator_has_so_many_sessions_and_no_more() {
    let (server, sessions) = start();
    let bobs = sessions.open(&of("bob"), HOUR).await.unwrap();
    let closed = sessions.open(&of("ann"), HOUR).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..MOST_SESSIONS {
        if number == 1 {
            // One that is over takes nobody's place.
            sessions.close(&closed).await.unwrap();
        }
        ids.push(sessions.open(&of("ann"), HOUR).await.unwrap());
        // They are told apart by the millisecond in which they began.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(sessions.find(&ids[0]).await.unwrap().is_some());
    let last = sessions.open(&of("ann"), HOUR).await.unwrap();
    assert_eq!(sessions.find(&ids[0]).await.unwrap(), None);
    for id in [&ids[1], &last, &bobs] {
        assert!(sessions.find(id).await.unwrap().is_some());
    }
    assert_eq!(keys(&server).len(), MOST_SESSIONS + 1 + 2);
}
