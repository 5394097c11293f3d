//! File sync.

mod devices;
mod places;
mod preferences;
mod refusals;
mod shares;
mod socket;
mod transfers;
mod tree;

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use sluice_api::auth::{Identity, Scope, mint};

use crate::app::{Answer, App, SECRET};

pub const ALL: &[Scope] = &[Scope::FilesRead, Scope::FilesWrite];
pub const DEVICES: &str = "/api/v1/sync/devices";
pub const SHARES: &str = "/api/v1/shares";

/// A caller with a token.
pub struct User(pub String);

impl User {
    /// Of the tenant `t`, of no group.
    pub fn new(name: &str) -> Self {
        Self::of("t", name, &[], ALL)
    }

    pub fn of(tenant: &str, user: &str, groups: &[&str], scopes: &[Scope]) -> Self {
        let groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
        let identity = Identity {
            user,
            tenant,
            groups: &groups,
        };
        Self(mint(SECRET, identity, scopes, Duration::from_secs(600)).unwrap())
    }

    pub async fn get(&self, app: &App, path: &str) -> Answer {
        app.send(self.request("GET", path, Body::empty())).await
    }

    pub async fn send(&self, app: &App, method: &str, path: &str, body: &Value) -> Answer {
        let body = Body::from(body.to_string());
        app.send(self.request(method, path, body)).await
    }

    pub fn request(&self, method: &str, path: &str, body: Body) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.0))
            .header("content-type", "application/json")
            .body(body)
            .unwrap()
    }

    /// Registers a device.
    pub async fn register(&self, app: &App, id: &str) -> Value {
        let answer = self.send(app, "POST", DEVICES, &laptop(id)).await;
        assert!(
            matches!(answer.status.as_u16(), 200 | 201),
            "{}",
            answer.text()
        );
        answer.json()
    }

    /// Makes a share.
    pub async fn share(&self, app: &App) -> String {
        let answer = self.send(app, "POST", SHARES, &json!({"name": "s"})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Lets another user into a share.
    pub async fn grant(&self, app: &App, share: &str, user: &str, level: &str) {
        let path = format!("{SHARES}/{share}/grants/users/{user}");
        let answer = self.send(app, "PUT", &path, &json!({"level": level})).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}

pub fn laptop(id: &str) -> Value {
    json!({"device_id": id, "device_name": "laptop", "platform": "linux", "client_version": "1.0"})
}

pub fn device(id: &str) -> String {
    format!("{DEVICES}/{id}")
}

/// The status, the code and the detail, which every problem of this surface has.
pub fn problem(answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    let text = |name: &str| {
        body[name]
            .as_str()
            .unwrap_or_else(|| panic!("{body}"))
            .to_owned()
    };
    assert_eq!(answer.header("content-type"), "application/json");
    (answer.status.as_u16(), text("code"), text("detail"))
}

/// As [`problem`], without the detail.
pub fn code(answer: &Answer) -> (u16, String) {
    let (status, code, _) = problem(answer);
    (status, code)
}

pub fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
