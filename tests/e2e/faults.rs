//! What operators and callers see while Valkey cannot do what it is asked, and what goes on then.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sluice_queue::{JobFilter, NewJob, State};
use sluice_test_support::{TestValkey, TlsFront, free_port};

use crate::harness::{
    Client, DEPLOY_KEY, Deployment, PATIENCE, Process, SECRET, eventually, files, read,
};

/// The status of `/readyz`, and what it says of Valkey.
async fn readiness(client: &Client) -> (StatusCode, Value) {
    let (status, body) = read(client.get("/readyz").await).await;
    (status, body["valkey"].clone())
}

#[tokio::test]
async fn a_sync_outlasts_full_memory() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 50)).await;
    let job = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    deployment.configure_valkey("maxmemory", "1");
    deployment.add_worker();
    eventually("an attempt has failed", async || {
        let job = client.job(&job).await;
        job["state"] == "retrying" && job["errors"][0]["message"].as_str().is_some()
    })
    .await;
    deployment.configure_valkey("maxmemory", "0");
    let ended = client.finished(&job).await;
    assert_eq!(ended["state"], "completed", "{ended}");
    assert_eq!(ended["result"]["synced"], 50);
}

#[tokio::test]
async fn full_memory_is_named_and_what_frees_some_goes_through() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 20)).await;
    client.sync("ann", "allOne").await;
    deployment.configure_valkey("maxmemory", "1");

    let ready = readiness(client).await;
    assert_eq!(
        ready,
        (StatusCode::SERVICE_UNAVAILABLE, json!("out_of_memory"))
    );
    let (content, said) = deployment.doctor();
    assert!(!content && said.contains("OOM"), "{said}");
    let answer = client
        .post("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    assert!(answer.headers().contains_key("retry-after"));
    let (status, body) = read(answer).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        body,
        json!({"error": "out_of_memory", "message": "the queue is out of memory"})
    );

    assert_eq!(client.cache_state("ann", "ann-1").await, "bulk");

    let (status, body) = client.invalidate("ann", "OUT").await;
    assert_eq!((status, &body["invalidated"]), (StatusCode::OK, &json!(20)));
    deployment.configure_valkey("maxmemory", "0");
    let ready = readiness(client).await;
    assert_eq!(ready, (StatusCode::OK, json!("ok")));
}

#[tokio::test]
async fn a_request_beyond_the_backlog_of_its_queue_is_refused_and_counted() {
    let deployment = Deployment::start_with(&[("SLUICE_BACKLOG_LIMIT", "1000")]).await;
    let client = &deployment.client;
    client.import(&files("ann", 20)).await;
    let queues = deployment.queues().await;
    let scheduled = NewJob {
        delay: Some(Duration::from_secs(3600)),
        ..NewJob::new("sync", &json!({"user": "bob", "type": "allOne"})).unwrap()
    };
    let fill = queues.enqueue_all(&vec![scheduled; 1000]).await.unwrap();
    assert!(fill.iter().all(Result::is_ok));

    let body = json!({"user": "ann", "type": "allOne"});
    let (status, answer) = read(client.post("sync", &body).await).await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("queue_full"))
    );
    let metrics = client.get("/metrics").await.text().await.unwrap();
    let counted = r#"sluice_queue_enqueued_total{queue="sync",outcome="full"} 1"#;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");

    let scheduled = JobFilter::new("sync", State::Scheduled);
    assert_eq!(queues.cancel_all(&scheduled).await.unwrap(), 1000);
    let (status, _) = client.sync("ann", "allOne").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_not_ready_and_is_again_afterwards() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 20)).await;
    client.sync("ann", "allOne").await;
    deployment.configure_valkey("min-replicas-to-write", "1");
    assert_eq!(client.cache_state("ann", "ann-1").await, "bulk");
    let ready = readiness(client).await;
    assert_eq!(
        ready,
        (StatusCode::SERVICE_UNAVAILABLE, json!("not_writable"))
    );
    let answer = client
        .post("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    let (status, body) = read(answer).await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable"))
    );
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("cannot be written"), "{message}");
    deployment.configure_valkey("min-replicas-to-write", "0");
    let (status, _) = client.sync("ann", "allOne").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_node_at_a_read_only_replica_serves_what_is_cached_and_is_not_ready() {
    let deployment = Deployment::start().await;
    deployment.client.import(&files("ann", 20)).await;
    deployment.client.sync("ann", "allOne").await;
    let primary = format!("127.0.0.1 {}", deployment.valkey.port());
    let replica = TestValkey::start_with(&["--replicaof", &primary]);
    eventually("the replica has what the primary has", async || {
        replica.keys("sm1:{ann}:live:*").len() >= 3
    })
    .await;

    let (_api, client) = deployment
        .api_with(&[("SLUICE_VALKEY_URL", &replica.url())])
        .await;
    assert_eq!(client.cache_state("ann", "ann-1").await, "bulk");
    let ready = readiness(&client).await;
    assert_eq!(
        ready,
        (StatusCode::SERVICE_UNAVAILABLE, json!("not_writable"))
    );
}

#[tokio::test]
async fn a_job_that_valkey_lost_is_told_as_unavailable_and_not_as_not_found() {
    let deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 20)).await;
    let waiting = client.clone();
    let waiting = tokio::spawn(async move {
        waiting
            .post("sync", &json!({"user": "ann", "type": "allOne"}))
            .await
    });
    eventually("the job waits", async || {
        !deployment.valkey.keys("sq1:{sync}:job:*").is_empty()
    })
    .await;
    redis::cmd("FLUSHALL")
        .exec(&mut deployment.valkey.connection())
        .unwrap();
    let answer = waiting.await.unwrap();
    assert!(answer.headers().contains_key("retry-after"));
    let (status, body) = read(answer).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
}

#[tokio::test]
async fn a_set_of_which_a_key_is_gone_is_read_from_convex_and_doctor_says_it() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 20)).await;
    deployment.wait_until_tailed().await;
    client.sync("ann", "allOne").await;
    assert_eq!(client.cache_state("ann", "ann-1").await, "bulk");
    deployment.wait_until_ranked("ann", "ann-1").await;
    let (_, said) = deployment.doctor();
    assert!(said.contains("no set lacks a part"), "{said}");

    redis::cmd("DEL")
        .arg("sm1:{ann}:live:order")
        .exec(&mut deployment.valkey.connection())
        .unwrap();
    let (content, said) = deployment.doctor();
    assert!(
        !content && said.contains("1 bulk sets lack a part"),
        "{said}"
    );
    assert_eq!(client.cache_state("ann", "ann-1").await, "miss");
    client.sync("ann", "allOne").await;
    assert_eq!(client.cache_state("ann", "ann-1").await, "bulk");
    let (_, said) = deployment.doctor();
    assert!(said.contains("no set lacks a part"), "{said}");
}

/// Runs a command of the binary to its end, with settings.
async fn run(command: &str, settings: &[(&str, &str)]) -> Output {
    let mut command_line = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command_line
        .arg(command)
        .envs(settings.iter().copied())
        .env("SLUICE_CONVEX_KEY", "key")
        .env("SLUICE_DEV_SECRET", SECRET)
        .stdin(Stdio::null());
    let running = tokio::task::spawn_blocking(move || command_line.output().unwrap());
    tokio::time::timeout(PATIENCE, running)
        .await
        .expect("the command does not end")
        .unwrap()
}

#[tokio::test]
async fn a_refused_password_ends_the_start_at_once_and_is_not_repeated() {
    let valkey = TestValkey::start();
    redis::cmd("CONFIG")
        .arg(&["SET", "requirepass", "the right one"])
        .exec(&mut valkey.connection())
        .unwrap();
    let url = format!("redis://:not-this-one@127.0.0.1:{}", valkey.port());
    for command in ["serve", "work"] {
        let settings = [
            ("SLUICE_VALKEY_URL", url.as_str()),
            ("SLUICE_LISTEN", "127.0.0.1:0"),
        ];
        let settings = &settings[..if command == "serve" { 2 } else { 1 }];
        let output = run(command, settings).await;
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("authentication failed"), "{said}");
        assert!(!said.contains("not-this-one"), "{said}");
    }
}

#[tokio::test]
async fn a_valkey_behind_tls_is_reached_with_certificates_from_the_settings() {
    let valkey = TestValkey::start_with_json();
    let front = TlsFront::to(valkey.port()).await;
    let (ca, (cert, key)) = (front.ca(), front.client());
    let url = front.url();
    let settings = [
        ("SLUICE_VALKEY_URL", url.as_str()),
        ("SLUICE_VALKEY_CA", ca.to_str().unwrap()),
        ("SLUICE_VALKEY_CERT", cert.to_str().unwrap()),
        ("SLUICE_VALKEY_KEY", key.to_str().unwrap()),
    ];
    let said = |output: Output| String::from_utf8(output.stdout).unwrap();
    let found = said(run("doctor", &settings).await);
    for check in ["valkey", "writes", "json"] {
        let line = found
            .lines()
            .find(|line| line.get(6..).is_some_and(|it| it.starts_with(check)));
        assert!(line.is_some_and(|line| line.starts_with("ok ")), "{found}");
    }
    // Without its CA the server is not trusted.
    let found = said(run("doctor", &settings[..1]).await);
    assert!(found.contains("fail  valkey"), "{found}");
}

#[tokio::test]
async fn a_user_without_the_channels_is_named_by_the_probe_and_not_taken_for_an_outage() {
    let deployment = Deployment::start().await;
    redis::cmd("ACL")
        .arg(&["SETUSER", "sluice", "resetchannels"])
        .exec(&mut deployment.valkey.connection())
        .unwrap();
    eventually("the subscription is refused", async || {
        let ready = readiness(&deployment.client).await;
        ready == (StatusCode::SERVICE_UNAVAILABLE, json!("access_denied"))
    })
    .await;
    let (content, said) = deployment.doctor();
    assert!(!content && said.contains("sq1:*:events"), "{said}");
}

/// A Convex whose every answer is an error with a text of several lines that speaks to terminals.
async fn start_forger() -> String {
    let answer = async || {
        let message = "down\n2026-01-01T00:00:00Z ERROR forged: line\r\u{1b}[2Jred\u{2028}x";
        let body = axum::Json(json!({"code": "Down", "message": message}));
        (axum::http::StatusCode::BAD_REQUEST, body)
    };
    let router = axum::Router::new().fallback(answer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn an_error_text_from_outside_stays_on_its_line_of_the_log() {
    let (valkey, convex) = (TestValkey::start(), start_forger().await);
    let listen = format!("127.0.0.1:{}", free_port());
    let mut settings = vec![
        ("SLUICE_VALKEY_URL", valkey.url()),
        ("SLUICE_CONVEX_URL", convex.clone()),
        ("SLUICE_CONVEX_KEY", DEPLOY_KEY.to_owned()),
    ];
    let log = tempfile::NamedTempFile::new().unwrap();
    let append = || std::fs::OpenOptions::new().append(true).open(log.path());
    let start = |command, settings: &[(&str, String)]| {
        let settings: Vec<_> = settings.iter().map(|(name, it)| (*name, &**it)).collect();
        Process::start_with_log(&[command], &settings, append().unwrap().into())
    };
    let _worker = start("work", &settings);
    settings.push(("SLUICE_LISTEN", listen.clone()));
    settings.push(("SLUICE_DEV_SECRET", SECRET.to_owned()));
    let _api = start("serve", &settings);
    let client = Client::new(&format!("http://{listen}"), &convex, DEPLOY_KEY, SECRET);
    // It is not ready without a Convex.
    eventually("the API answers", async || {
        client.request("GET", "/healthz").send().await.is_ok()
    })
    .await;

    let fetched = client.get("/api/v1/meta/ann-0?userId=ann").await;
    assert_eq!(fetched.status(), StatusCode::BAD_GATEWAY);
    let job = json!({"user": "ann", "type": "allOne"});
    let job = client.enqueue("sync", &job).await;
    assert_eq!(client.finished(&job).await["state"], "dead");
    let mut text = String::new();
    eventually("all three have logged", async || {
        text = std::fs::read_to_string(log.path()).unwrap();
        let lines = [
            "Convex could not be read",
            "the job failed",
            "the tail cannot go on",
        ];
        lines.iter().all(|line| text.contains(line))
    })
    .await;
    let forged = "\\n2026-01-01T00:00:00Z ERROR forged: line\\r\\u{1b}[2Jred\\u{2028}x";
    assert!(text.matches(forged).count() >= 3, "{text}");
    for character in ['\r', '\u{1b}', '\u{2028}'] {
        assert!(!text.contains(character), "{text:?}");
    }
    assert!(
        text.lines()
            .all(|line| !line.starts_with("2026-01-01T00:00:00Z "))
    );
}
