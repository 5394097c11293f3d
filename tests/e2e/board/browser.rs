//! A headless Chromium of a width, driven by WebDriver, and what it sees.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::http::Method;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client as Browser, ClientBuilder, Locator};
use serde_json::{Value, json};
use sluice_test_support::{free_port, project_root};
use tempfile::TempDir;
use url::{ParseError, Url};

use crate::harness::{Deployment, eventually};

/// What every page has to be; returns what is wrong with the one that is open.
const AUDIT: &str = include_str!("audit.js");

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub enum Screen {
    /// 1280 px wide, with a mouse.
    Desk,
    /// 390 px wide, to be touched.
    Phone,
}

impl Screen {
    fn name(self) -> &'static str {
        match self {
            Self::Desk => "1280",
            Self::Phone => "390",
        }
    }
}

/// The browser; it and its driver end with the test.
pub struct Session {
    pub browser: Browser,
    screen: Screen,
    driver: Child,
    _profile: TempDir,
}

/// A command of the browser's own protocol.
#[derive(Debug)]
struct Cdp(Value);

impl WebDriverCompatibleCommand for Cdp {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _url: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.0.to_string()))
    }
}

impl Session {
    pub async fn start(screen: Screen) -> Self {
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
            "--hide-scrollbars",
            "--window-size=1280,900",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let mut options = json!({"args": arguments});
        if let Screen::Phone = screen {
            let metrics = json!({"width": 390, "height": 844, "pixelRatio": 1.0});
            options["mobileEmulation"] = json!({"deviceMetrics": metrics});
        }
        let capabilities = json!({"goog:chromeOptions": options});
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
            screen,
            driver,
            _profile: profile,
        }
    }

    pub async fn log_in(&self, deployment: &Deployment, scopes: &str) {
        let token = deployment.client.token("operator", scopes, 600);
        self.open(deployment, "/board").await;
        self.enter(&token).await;
    }

    /// Logs in at the page that is open.
    pub async fn enter(&self, token: &str) {
        self.find("#token").await;
        // Pasted: typing a long token takes seconds.
        let paste = "document.querySelector('#token').value = arguments[0]";
        let pasted = self.browser.execute(paste, vec![json!(token)]).await;
        pasted.unwrap();
        self.press("button[type=submit]").await;
    }

    pub async fn open(&self, deployment: &Deployment, path: &str) {
        self.browser
            .goto(&deployment.client.address(path))
            .await
            .unwrap();
    }

    pub async fn find(&self, selector: &str) -> fantoccini::elements::Element {
        let found = self.browser.wait().at_most(Duration::from_secs(30));
        found.for_element(Locator::Css(selector)).await.unwrap()
    }

    /// Presses what is there then. A page that is kept fresh may replace it just now.
    pub async fn press(&self, selector: &str) {
        eventually(&format!("{selector} is pressed"), async || {
            self.find(selector).await.click().await.is_ok()
        })
        .await;
    }

    /// Presses a link to a question, and its answer.
    pub async fn confirm(&self, selector: &str) {
        self.press(selector).await;
        self.press("#confirm").await;
    }

    pub async fn text(&self) -> String {
        let body = self.browser.find(Locator::Css("body")).await;
        match body {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until the page shows `text`, without a reload.
    pub async fn shows(&self, text: &str) {
        // What keeps numbers and units together looks like a space.
        let shown = async || self.text().await.replace(['\u{a0}', '\u{202f}'], " ");
        eventually(&format!("the page shows {text:?}"), async || {
            shown().await.contains(text)
        })
        .await;
    }

    /// Whether there is such an element.
    pub async fn has(&self, selector: &str) -> bool {
        self.browser.find(Locator::Css(selector)).await.is_ok()
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str) -> Value {
        self.browser.execute(script, Vec::new()).await.unwrap()
    }

    async fn emulate(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let command =
            Cdp(json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}));
        self.browser.issue_cmd(command).await.unwrap();
    }

    /// Holds the page that is open against what every page has to be, in light and in dark, and
    /// keeps its pictures as `target/board/<name>-<width>[-dark].png`.
    pub async fn audit(&self, name: &str) {
        let folder = project_root().join("target/board");
        fs::create_dir_all(&folder).unwrap();
        for (scheme, suffix) in [("dark", "-dark"), ("light", "")] {
            self.emulate(scheme).await;
            let faults = self.run(AUDIT).await;
            let what = format!("{name}-{}{suffix}", self.screen.name());
            let params = json!({"captureBeyondViewport": true, "format": "png"});
            let taken = Cdp(json!({"cmd": "Page.captureScreenshot", "params": params}));
            let taken = self.browser.issue_cmd(taken).await.unwrap();
            let picture = base64::Engine::decode(
                &base64::prelude::BASE64_STANDARD,
                taken["data"].as_str().unwrap(),
            );
            fs::write(folder.join(format!("{what}.png")), picture.unwrap()).unwrap();
            assert_eq!(faults, json!([]), "{what}");
        }
    }

    pub async fn close(mut self) {
        let _ = self.browser.clone().close().await;
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
