//! The queue board, seen and used in a real browser.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::{Client as Browser, ClientBuilder, Locator};
use serde_json::json;
use sluice_queue::State;
use sluice_test_support::{Proxy, free_port};
use tempfile::TempDir;

use crate::harness::{Deployment, eventually, files};

/// A headless Chromium driven by WebDriver; both end with the test.
struct Session {
    browser: Browser,
    driver: Child,
    _profile: TempDir,
}

impl Session {
    async fn start() -> Self {
        let port = free_port();
        // A group of its own, so that the browser can be ended with its driver.
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed by scripts/install-browser");
        let profile = tempfile::tempdir().unwrap();
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1100,900",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities = json!({"goog:chromeOptions": {"args": arguments}});
        let mut builder =
            ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(capabilities.as_object().unwrap().clone());
        let mut browser = None;
        eventually("the browser is up", async || {
            browser = builder
                .connect(&format!("http://127.0.0.1:{port}"))
                .await
                .ok();
            browser.is_some()
        })
        .await;
        Self {
            browser: browser.unwrap(),
            driver,
            _profile: profile,
        }
    }

    async fn log_in(&self, deployment: &Deployment, scopes: &str) {
        let token = deployment.client.token("operator", scopes, 600);
        self.open(deployment, "/board").await;
        self.enter(&token).await;
    }

    /// Logs in at the page that is open.
    async fn enter(&self, token: &str) {
        self.find("#token").await;
        // Pasted: typing a long token takes seconds.
        let paste = "document.querySelector('#token').value = arguments[0]";
        let pasted = self.browser.execute(paste, vec![json!(token)]).await;
        pasted.unwrap();
        self.press("button[type=submit]").await;
    }

    async fn open(&self, deployment: &Deployment, path: &str) {
        self.browser
            .goto(&deployment.client.address(path))
            .await
            .unwrap();
    }

    async fn find(&self, selector: &str) -> fantoccini::elements::Element {
        let found = self.browser.wait().at_most(Duration::from_secs(30));
        found.for_element(Locator::Css(selector)).await.unwrap()
    }

    async fn press(&self, selector: &str) {
        self.find(selector).await.click().await.unwrap();
    }

    async fn text(&self) -> String {
        let body = self.browser.find(Locator::Css("body")).await;
        match body {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until the page shows `text`, without a reload.
    async fn shows(&self, text: &str) {
        eventually(&format!("the page shows {text:?}"), async || {
            self.text().await.contains(text)
        })
        .await;
    }

    async fn close(mut self) {
        let _ = self.browser.clone().close().await;
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

#[tokio::test]
async fn an_operator_watches_a_job_run_and_finds_it_in_its_queue() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 2000)).await;
    let proxy = Proxy::start(deployment.convex_address()).await;
    let worker =
        deployment.worker_with(&[("SLUICE_CONVEX_URL", &proxy.url()), ("SLUICE_TAIL", "off")]);
    deployment.workers.push(worker);
    let session = Session::start().await;
    session.log_in(&deployment, "admin").await;
    session.shows("sync").await;

    let page_bytes = 900_000;
    proxy.hold_after(page_bytes);
    client.import(&files("ann", 4500)).await;
    let id = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    session
        .open(&deployment, &format!("/board/jobs/{id}"))
        .await;
    session.shows("running").await;
    proxy.open();
    session.shows("completed").await;
    session.shows("\"synced\": 4500").await;

    session
        .open(&deployment, "/board/queues/sync?state=completed")
        .await;
    session.shows(&id).await;
    session.close().await;
}

#[tokio::test]
async fn an_operator_cancels_a_waiting_job_and_retries_it() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 10)).await;
    let id = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    let session = Session::start().await;
    session.log_in(&deployment, "admin").await;
    session.shows("sync").await;
    session
        .open(&deployment, &format!("/board/jobs/{id}"))
        .await;
    session.shows("available").await;
    session.press("#cancel").await;
    session.shows("cancelled").await;
    assert_eq!(client.job(&id).await["state"], "cancelled");
    session.press("#retry").await;
    session.shows("available").await;
    deployment.add_worker();
    session.shows("completed").await;
    session.close().await;
}

#[tokio::test]
async fn an_operator_pauses_a_queue_and_lets_it_go_on() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 10)).await;
    let id = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    let session = Session::start().await;
    session.log_in(&deployment, "admin").await;
    session.open(&deployment, "/board/queues/sync").await;
    session.press("summary").await;
    session.press("#pause").await;
    session.shows("Paused since").await;
    deployment.add_worker();
    assert_eq!(client.job(&id).await["state"], "available");
    session.press("summary").await;
    session.press("#resume").await;
    session
        .open(&deployment, &format!("/board/jobs/{id}"))
        .await;
    session.shows("completed").await;
    session.close().await;
}

#[tokio::test]
async fn a_watched_job_leads_to_the_login_when_the_session_ends_elsewhere_and_back() {
    let deployment = Deployment::without_workers(&[]).await;
    deployment.leaves_jobs(State::Available);
    let client = deployment.client.clone();
    let id = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    let session = Session::start().await;
    let groups: Vec<String> = (0..90)
        .map(|group| format!("admin cn=group-{group:02},ou=groups,dc=example"))
        .collect();
    let page = format!("/board/jobs/{id}");
    session.open(&deployment, &page).await;
    let token = client.token("operator", &groups.join(" "), 600);
    assert!(token.len() > 4096);
    session.enter(&token).await;
    session.shows("available").await;

    let cookie = session.browser.get_named_cookie("sluice_board").await;
    let cookie = format!("sluice_board={}", cookie.unwrap().value());
    let logout = client.request("POST", "/board/logout");
    let logout = logout.header("sec-fetch-site", "same-origin");
    logout.header("cookie", cookie).send().await.unwrap();
    session.shows("Your session has ended").await;
    session.enter(&token).await;
    session.shows(&id).await;
    session.close().await;
}

#[tokio::test]
async fn the_board_is_closed_to_everybody_else() {
    let deployment = Deployment::without_workers(&[]).await;
    let session = Session::start().await;
    session.log_in(&deployment, "meta:read meta:write").await;
    session.shows("Not logged in").await;
    for path in [
        "/board",
        "/board/queues/sync",
        "/board/jobs/sync_01j00000000000000000000000",
    ] {
        session.open(&deployment, path).await;
        session.find("#token").await;
    }
    session.close().await;
}
