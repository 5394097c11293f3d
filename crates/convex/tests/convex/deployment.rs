//! An embedded deployment, served on a free port and filled through the streaming import.

use std::sync::Arc;

use serde_json::{Value, json};
use sluice_convex::embedded::{Embedded, EmbeddedConfig};
use sluice_convex::{Client, ClientConfig, Files, FilesVia, files};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

const KEY: &str = "dev:test|0123456789abcdef";

/// The fields of an index.
pub const BY_OWNER: [&str; 2] = ["user", "id"];

pub struct Deployment {
    pub client: Client,
    url: String,
    server: AbortHandle,
    _folder: TempDir,
}

impl Deployment {
    pub async fn start() -> Deployment {
        let folder = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(EmbeddedConfig::new(folder.path(), KEY)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = embedded.router();
        let server =
            tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        let client = Client::new(ClientConfig::new(url.parse().unwrap(), KEY.into())).unwrap();
        Deployment {
            client,
            url,
            server,
            _folder: folder,
        }
    }

    /// Has the files indexed for the import, as one does who imports by these fields.
    pub async fn index_by(&self, fields: &[&str]) {
        let added = self.client.add_primary_key_index("files", fields).await;
        added.unwrap();
        while !self.client.primary_key_index_ready("files").await.unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Writes documents without any index.
    pub async fn append(&self, documents: &[Value]) {
        let messages = documents
            .iter()
            .map(|data| json!({ "tableName": "files", "data": data }));
        let body = json!({
            "tables": { "files": { "jsonSchema": {} } },
            "messages": messages.collect::<Vec<_>>(),
        });
        let import = "api/streaming_import/import_airbyte_records";
        let request = reqwest::Client::new()
            .post(format!("{}/{import}", self.url))
            .header("Authorization", format!("Convex {KEY}"))
            .json(&body);
        request.send().await.unwrap().error_for_status().unwrap();
    }

    /// Writes documents; one with the same `n` is replaced. Has the files indexed by that.
    pub async fn put(&self, documents: &[Value]) {
        self.index_by(&["n"]).await;
        for chunk in documents.chunks(1000) {
            self.client
                .import_records("files", &["n"], chunk)
                .await
                .unwrap();
        }
    }

    /// Both ways to the files.
    pub fn ways(&self) -> [Arc<dyn Files>; 2] {
        [FilesVia::Functions, FilesVia::Export].map(|via| files(self.client.clone(), via))
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.server.abort();
    }
}
