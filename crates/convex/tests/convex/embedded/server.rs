//! A running embedded store and a plain HTTP client for it.

use std::path::Path;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sluice_convex::embedded::{Embedded, EmbeddedConfig};

pub const KEY: &str = "dev:test|s3cret";

pub struct Server {
    pub url: String,
    pub http: reqwest::Client,
    dir: Option<tempfile::TempDir>,
}

impl Server {
    /// A store of its own.
    pub async fn start() -> Server {
        Server::with(|_| ()).await
    }

    /// A store of its own with other settings.
    pub async fn with(configure: impl FnOnce(&mut EmbeddedConfig)) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let mut config = EmbeddedConfig::new(dir.path(), KEY);
        configure(&mut config);
        let mut server = Server::serve(config).await;
        server.dir = Some(dir);
        server
    }

    /// A store in a given folder.
    pub async fn open(dir: &Path) -> Server {
        Server::serve(EmbeddedConfig::new(dir, KEY)).await
    }

    async fn serve(config: EmbeddedConfig) -> Server {
        let embedded = Embedded::open(config).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = embedded.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Server::at(&url)
    }

    /// A store that runs somewhere else.
    pub fn at(url: &str) -> Server {
        Server {
            url: url.to_owned(),
            http: reqwest::Client::new(),
            dir: None,
        }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        request.header("Authorization", format!("Convex {KEY}"))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        answer(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        answer(self.request(Method::PUT, path).json(&body)).await
    }

    /// Imports records into one table and expects that to work.
    pub async fn import(
        &self,
        table: &str,
        key: Option<&str>,
        records: impl IntoIterator<Item = Value>,
    ) {
        let (status, body) = self.post(IMPORT, import_body(table, key, records)).await;
        assert_eq!((status, body), (200, Value::Null));
    }

    pub async fn add_key(&self, table: &str, field: &str) {
        let body = json!({ "indexes": { table: [[field]] } });
        let (status, _) = self
            .put("/api/streaming_import/add_primary_key_indexes", body)
            .await;
        assert_eq!(status, 200);
    }

    /// Writes documents into a table of any component.
    pub async fn import_lines(
        &self,
        component: &str,
        table: &str,
        mode: &str,
        documents: impl IntoIterator<Item = Value>,
    ) -> (u16, Value) {
        let lines: String = documents.into_iter().map(|d| format!("{d}\n")).collect();
        let path = format!(
            "/api/import?format=jsonLines&componentPath={component}&tableName={table}&mode={mode}"
        );
        answer(self.request(Method::POST, &path).body(lines)).await
    }

    /// One page of a data sync.
    pub async fn sync(&self, cursor: &Value, selection: &Value) -> Value {
        let mut body = json!({ "cursor": cursor });
        if !selection.is_null() {
            body["selection"] = selection.clone();
        }
        let (status, page) = self.post("/api/v1/data/sync", body).await;
        assert_eq!(status, 200, "{page}");
        page
    }

    /// All pages of a snapshot of one table.
    pub async fn walk(&self, table: &str) -> Vec<Value> {
        let mut pages = Vec::new();
        let mut next = json!({ "tableName": table });
        loop {
            let (status, page) = self.post("/api/list_snapshot", next.clone()).await;
            assert_eq!(status, 200, "{page}");
            next["cursor"] = page["cursor"].clone();
            next["snapshot"] = page["snapshot"].clone();
            let more = page["hasMore"].as_bool().unwrap();
            assert_eq!(page["cursor"].is_string(), more);
            pages.push(page);
            if !more {
                return pages;
            }
        }
    }

    pub async fn documents(&self, table: &str) -> Vec<Value> {
        values(&self.walk(table).await)
    }

    /// All pages of the log after `cursor`.
    pub async fn deltas(&self, table: &str, cursor: &Value) -> Vec<Value> {
        let mut pages = Vec::new();
        let mut cursor = cursor.clone();
        loop {
            let body = json!({ "tableName": table, "cursor": cursor });
            let (status, page) = self.post("/api/document_deltas", body).await;
            assert_eq!(status, 200, "{page}");
            cursor = page["cursor"].clone();
            let more = page["hasMore"].as_bool().unwrap();
            pages.push(page);
            if !more {
                return pages;
            }
        }
    }

    /// The server's present timestamp.
    pub async fn now(&self) -> Value {
        let (_, page) = self.get("/api/list_snapshot?tableName=nothing").await;
        page["snapshot"].clone()
    }

    pub async fn query(&self, path: &str, args: Value) -> Value {
        let (status, body) = self
            .post("/api/query", json!({ "path": path, "args": args }))
            .await;
        assert_eq!(status, 200, "{body}");
        body
    }

    pub async fn mutation(&self, path: &str, args: Value) -> Value {
        let (status, body) = self
            .post("/api/mutation", json!({ "path": path, "args": args }))
            .await;
        assert_eq!(status, 200, "{body}");
        body
    }
}

pub const IMPORT: &str = "/api/streaming_import/import_airbyte_records";

pub fn import_body(
    table: &str,
    key: Option<&str>,
    records: impl IntoIterator<Item = Value>,
) -> Value {
    let messages = records
        .into_iter()
        .map(|data| json!({ "tableName": table, "data": data }));
    json!({
        "tables": { table: { "primaryKey": key.map(|field| vec![vec![field]]), "jsonSchema": {} } },
        "messages": messages.collect::<Vec<_>>(),
    })
}

/// Status and JSON body; null for an empty body.
pub async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    if body.is_empty() {
        return (status, Value::Null);
    }
    (status, serde_json::from_slice(&body).unwrap())
}

pub fn values(pages: &[Value]) -> Vec<Value> {
    pages
        .iter()
        .flat_map(|page| page["values"].as_array().unwrap().clone())
        .collect()
}

pub fn sizes(pages: &[Value]) -> Vec<usize> {
    pages
        .iter()
        .map(|page| page["values"].as_array().unwrap().len())
        .collect()
}
