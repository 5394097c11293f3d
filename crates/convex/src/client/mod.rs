//! The HTTP client of a Convex deployment: streaming export, streaming import and functions.

mod call;
mod config;
mod error;
mod import;
mod retry;
mod rows;
mod secret;
mod slicer;

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use self::call::Call;
pub use self::config::ClientConfig;
pub use self::error::ConvexError;
pub use self::rows::{AnsweredEnd, DeltasEnd, PageEnd, QueryEnd, RowStream, SnapshotEnd};
use self::rows::{Kind, function_value, parse};
pub use self::secret::Secret;
use self::slicer::RowsAt;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For answers that are read whole: schemas and what functions return besides pages. Convex returns
/// at most 16 MiB.
const MAX_ANSWER: usize = 32 << 20;
/// A table nobody has: its snapshot is empty and still tells the time.
const NO_TABLE: &str = "sluice_no_such_table";

/// A Convex deployment over HTTP. Cheap to clone; all clones share one pool of connections.
///
/// Every call gives up on an attempt after [`ClientConfig::request_timeout`] of silence and repeats
/// it up to [`ClientConfig::retries`] times with jittered exponential waits, or as long as
/// `Retry-After` asks (30 s at most). All of its requests are idempotent, so repeating is safe.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    timeout: Duration,
    retries: u32,
}

/// Which page of `list_snapshot`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotRequest {
    /// One table of the root component.
    #[serde(rename = "tableName")]
    pub table: String,
    /// The time of the walk, ns; `None`: now.
    pub snapshot: Option<i64>,
    /// From the page before; `None`: the first page.
    pub cursor: Option<String>,
}

/// Which page of `document_deltas`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeltasRequest {
    /// One table of the root component.
    #[serde(rename = "tableName")]
    pub table: String,
    /// Everything later than this, ns.
    pub cursor: i64,
}

impl Client {
    /// Opens no connection yet. Fails on a URL that is not http(s) and on a key that no header can
    /// carry.
    pub fn new(config: ClientConfig) -> Result<Client, ConvexError> {
        let ClientConfig {
            mut url,
            deploy_key,
            request_timeout,
            retries,
            client_name,
        } = config;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(ConvexError::Config(
                "the Convex URL must be http:// or https://".into(),
            ));
        }
        url.set_query(None);
        url.set_fragment(None);
        let header = |text: String, what: &str| {
            HeaderValue::from_str(&text)
                .map_err(|_| ConvexError::Config(format!("the {what} does not fit into a header")))
        };
        let mut authorization = header(
            format!("Convex {}", deploy_key.expose()),
            "Convex deploy key",
        )?;
        authorization.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, authorization),
            (
                reqwest::header::HeaderName::from_static("convex-client"),
                header(client_name, "client name")?,
            ),
        ]);
        let mut http = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // Nobody but the configured host gets the key.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&url) {
            http = http.no_proxy();
        }
        let http = http
            .build()
            .map_err(|error| ConvexError::Config(error.without_url().to_string()))?;
        Ok(Client {
            http,
            url,
            timeout: request_timeout,
            retries,
        })
    }

    /// The deployment's present time, ns: no later commit has an earlier time.
    pub async fn now(&self) -> Result<i64, ConvexError> {
        let request = SnapshotRequest {
            table: NO_TABLE.to_owned(),
            snapshot: None,
            cursor: None,
        };
        Ok(self.list_snapshot(request).await?.finish().await?.snapshot)
    }

    /// Whether the deployment answers, takes the key and has streaming export.
    pub async fn ping(&self) -> Result<(), ConvexError> {
        let call = self.call("test_streaming_export_connection", Method::GET, None);
        call.send_whole(MAX_ANSWER).await.map(drop)
    }

    /// A page of a table as it was at one time, in the order of internal ids.
    pub async fn list_snapshot(
        &self,
        request: SnapshotRequest,
    ) -> Result<RowStream<SnapshotEnd>, ConvexError> {
        let call = self.call("list_snapshot", Method::POST, Some(body(&request)?));
        RowStream::open(
            call,
            Kind {
                rows_at: RowsAt::Values,
                path: String::new(),
            },
        )
        .await
    }

    /// A page of a table's revisions, oldest first. [`ConvexError::CursorExpired`] when the cursor
    /// is too old.
    pub async fn document_deltas(
        &self,
        request: DeltasRequest,
    ) -> Result<RowStream<DeltasEnd>, ConvexError> {
        let call = self.call("document_deltas", Method::POST, Some(body(&request)?));
        RowStream::open(
            call,
            Kind {
                rows_at: RowsAt::Values,
                path: String::new(),
            },
        )
        .await
    }

    /// Calls a query that returns documents in its field `page`. `path` is `module:function`.
    pub async fn query<P: PageEnd>(
        &self,
        path: &str,
        args: &impl Serialize,
    ) -> Result<RowStream<P>, ConvexError> {
        let call = self.call("query", Method::POST, Some(function_body(path, args)?));
        RowStream::open(
            call,
            Kind {
                rows_at: RowsAt::Page,
                path: path.to_owned(),
            },
        )
        .await
    }

    /// Calls a query and reads what it returns.
    pub async fn query_value<T: DeserializeOwned>(
        &self,
        path: &str,
        args: &impl Serialize,
    ) -> Result<T, ConvexError> {
        let call = self.call("query", Method::POST, Some(function_body(path, args)?));
        function_value(&call.send_whole(MAX_ANSWER).await?, path)
    }

    /// Calls a mutation and reads what it returns. It must be idempotent: it runs again when its
    /// answer is lost.
    pub async fn mutation<T: DeserializeOwned>(
        &self,
        path: &str,
        args: &impl Serialize,
    ) -> Result<T, ConvexError> {
        let call = self.call("mutation", Method::POST, Some(function_body(path, args)?));
        function_value(&call.send_whole(MAX_ANSWER).await?, path)
    }

    /// The JSON schema of every table, by name.
    pub async fn json_schemas(&self) -> Result<Value, ConvexError> {
        parse(
            &self
                .call("json_schemas", Method::GET, None)
                .send_whole(MAX_ANSWER)
                .await?,
        )
    }

    fn call(&self, endpoint: &'static str, method: Method, body: Option<Bytes>) -> Call {
        let mut url = self.url.clone();
        url.set_path(&format!(
            "{}/api/{endpoint}",
            self.url.path().trim_end_matches('/')
        ));
        // So that the first repetition is an increase.
        metrics::counter!("sluice_convex_retries_total", "endpoint" => endpoint).increment(0);
        Call {
            http: self.http.clone(),
            endpoint,
            method,
            url,
            body,
            timeout: self.timeout,
            retries: self.retries,
            failures: 0,
            pauses: retry::pauses(),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn function_body(path: &str, args: &impl Serialize) -> Result<Bytes, ConvexError> {
    #[derive(Serialize)]
    struct Request<'a, A> {
        path: &'a str,
        args: &'a A,
        format: &'static str,
    }
    body(&Request {
        path,
        args,
        format: "json",
    })
}

fn body(request: &impl Serialize) -> Result<Bytes, ConvexError> {
    serde_json::to_vec(request)
        .map(Bytes::from)
        .map_err(|error| ConvexError::Config(format!("a request that is no JSON: {error}")))
}
