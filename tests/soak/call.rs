//! What the load asks for: recorded by what it means, and the request that each is.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::harness::file;

const SYNC: &str = "/api/v1/sync";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// A document (`service/id`) without marks is created.
    Create { document: String, key: String },
    /// A mark, which no other write has, is appended to a document and counted.
    Mark {
        document: String,
        mark: String,
        key: Option<String>,
        /// The revision that the document must be at.
        expected: Option<u64>,
        later: bool,
    },
    /// Marks (id, mark) for documents of a service. The marks are the keys, too.
    Batch {
        service: String,
        marks: Vec<(String, String)>,
        later: bool,
    },
    /// A document is read.
    Read { document: String },
    /// The next write of a document that one writer has for himself, which leaves it at this
    /// revision.
    Step {
        document: String,
        revision: u64,
        step: Step,
        key: String,
    },
    /// A document is created for a short life, until the given ms since 1970.
    Live {
        document: String,
        life: String,
        until: u64,
        key: String,
    },
    /// It is written to in that life.
    Grow {
        document: String,
        life: String,
        size: u64,
        key: String,
    },
    Sync {
        user: String,
        kind: String,
        key: String,
        later: bool,
    },
    Prefetch {
        user: String,
        limit: u32,
        key: String,
    },
    Invalidate {
        user: String,
        kind: String,
        key: String,
        later: bool,
    },
    /// One entry is read through the cache.
    Entry { user: String, id: String },
    /// The first entries that are cached.
    List { user: String },
    /// A job is looked at.
    Job { job: String },
    /// Files with their versions, or null to delete them, are imported into Convex.
    Import {
        user: String,
        files: BTreeMap<String, Option<u64>>,
    },
    /// A share of file sync is made.
    Share { name: String },
    /// A device is registered.
    Device { device: String },
    /// A device tells one change, which has an id.
    Edit {
        share: String,
        device: String,
        change: Value,
    },
    /// A content of a file is uploaded.
    Upload {
        share: String,
        file: String,
        text: String,
    },
    /// A file is downloaded.
    Download { file: String },
    /// The log of a share behind a position, where the reader has read this entry.
    Changes {
        share: String,
        after: u64,
        since: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Create,
    Put,
    Merge,
    Mutate,
    Delete,
    Restore,
}

/// A request of a [`Call`].
pub struct Request {
    pub method: Method,
    pub path: String,
    pub body: Value,
    pub key: Option<String>,
    pub later: bool,
}

impl Request {
    fn of(method: Method, path: String, body: Value) -> Self {
        Self {
            method,
            path,
            body,
            key: None,
            later: false,
        }
    }

    fn get(path: String) -> Self {
        Self::of(Method::GET, path, Value::Null)
    }

    fn keyed(self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self
        }
    }
}

impl Call {
    /// Whether it is one of file sync, whose errors have a shape of their own.
    pub fn is_filesync(&self) -> bool {
        matches!(
            self,
            Self::Share { .. }
                | Self::Device { .. }
                | Self::Edit { .. }
                | Self::Upload { .. }
                | Self::Download { .. }
                | Self::Changes { .. }
        )
    }

    /// Whether it goes to Convex and not to the API.
    pub fn is_import(&self) -> bool {
        matches!(self, Self::Import { .. })
    }

    pub fn request(&self) -> Request {
        match self {
            Self::Create { document, key } => {
                let data = json!({"count": 0, "marks": []});
                create(document, &data).keyed(key)
            }
            Self::Mark {
                document,
                mark,
                key,
                expected,
                later,
            } => {
                let mut body = json!({"mutations": marking(mark)});
                if let Some(expected) = expected {
                    body["expectedRevision"] = json!(expected);
                }
                let path = format!("{}/mutate", address(document));
                Request {
                    key: key.clone(),
                    later: *later,
                    ..Request::of(Method::POST, path, body)
                }
            }
            Self::Batch {
                service,
                marks,
                later,
            } => {
                let write = |(id, mark): &(String, String)| json!({"op": "mutate", "id": id, "mutations": marking(mark), "idempotencyKey": mark});
                let writes: Vec<Value> = marks.iter().map(write).collect();
                let path = format!("/api/sync/{service}/documents/batch");
                Request {
                    later: *later,
                    ..Request::of(Method::POST, path, json!({"writes": writes}))
                }
            }
            Self::Read { document } => Request::get(address(document)),
            Self::Step {
                document,
                revision,
                step,
                key,
            } => stepping(document, *revision, *step).keyed(key),
            Self::Live {
                document,
                life,
                until,
                key,
            } => {
                let mut request = create(document, &json!({"life": life, "size": 1}));
                request.body["expiresAt"] = json!(until);
                request.keyed(key)
            }
            Self::Grow {
                document,
                life,
                size,
                key,
            } => {
                let mutations = json!([
                    {"op": "test", "path": "/life", "value": life},
                    {"op": "set", "path": "/size", "value": size},
                ]);
                let path = format!("{}/mutate", address(document));
                Request::of(Method::POST, path, json!({"mutations": mutations})).keyed(key)
            }
            Self::Sync {
                user,
                kind,
                key,
                later,
            } => Request {
                later: *later,
                ..meta("sync", json!({"user": user, "type": kind})).keyed(key)
            },
            Self::Prefetch { user, limit, key } => {
                meta("prefetch", json!({"user": user, "limit": limit})).keyed(key)
            }
            Self::Invalidate {
                user,
                kind,
                key,
                later,
            } => Request {
                later: *later,
                ..meta("invalidate", json!({"user": user, "type": kind})).keyed(key)
            },
            Self::Entry { user, id } => Request::get(format!("/api/v1/meta/{id}?userId={user}")),
            Self::List { user } => Request::get(format!("/api/v1/meta?userId={user}&limit=10")),
            Self::Job { job } => Request::get(format!("/api/v1/jobs/{job}")),
            Self::Import { user, files } => {
                let message = |(id, version): (&String, &Option<u64>)| {
                    let data = match version {
                        Some(version) => file(user, id, *version),
                        None => json!({"id": id, "_ab_cdc_deleted_at": "2026-01-01T00:00:00Z"}),
                    };
                    json!({"tableName": "files", "data": data})
                };
                let messages: Vec<Value> = files.iter().map(message).collect();
                let tables = json!({"files": {"primaryKey": [["id"]], "jsonSchema": {}}});
                let path = "/api/streaming_import/import_airbyte_records".to_owned();
                let body = json!({"tables": tables, "messages": messages});
                Request::of(Method::POST, path, body)
            }
            Self::Share { name } => {
                let path = "/api/v1/shares".to_owned();
                Request::of(Method::POST, path, json!({"name": name}))
            }
            Self::Device { device } => Request::of(
                Method::POST,
                format!("{SYNC}/devices"),
                json!({"device_id": device, "device_name": device, "platform": "cli"}),
            ),
            Self::Edit {
                share,
                device,
                change,
            } => Request::of(
                Method::POST,
                format!("{SYNC}/apply"),
                json!({"device_id": device, "share_id": share, "conflict_resolution": "MANUAL", "changes": [change]}),
            ),
            Self::Upload { share, file, text } => Request::of(
                Method::PUT,
                format!("{SYNC}/upload/{file}?share_id={share}&upload_id={file}"),
                Value::String(text.clone()),
            ),
            Self::Download { file } => Request::get(format!("{SYNC}/download/{file}")),
            Self::Changes {
                share,
                after,
                since,
            } => {
                let since = since.as_ref().map(|id| format!("&since={id}"));
                let since = since.unwrap_or_default();
                Request::get(format!(
                    "{SYNC}/changes?share_id={share}&cursor={after}&limit=50{since}"
                ))
            }
        }
    }
}

/// The path of a document, which is named `service/id`.
pub fn address(document: &str) -> String {
    let (service, id) = document.split_once('/').unwrap();
    format!("/api/sync/{service}/documents/{id}")
}

fn create(document: &str, data: &Value) -> Request {
    let (service, id) = document.split_once('/').unwrap();
    let path = format!("/api/sync/{service}/documents");
    Request::of(Method::POST, path, json!({"id": id, "data": data}))
}

fn marking(mark: &str) -> Value {
    json!([
        {"op": "increment", "path": "/count", "value": 1},
        {"op": "append", "path": "/marks", "value": mark},
    ])
}

fn meta(operation: &str, body: Value) -> Request {
    Request::of(Method::POST, format!("/api/v1/e/meta/{operation}"), body)
}

/// The data of the document tells which write left it.
fn stepping(document: &str, revision: u64, step: Step) -> Request {
    let at = address(document);
    let data = json!({"revision": revision});
    let expected = revision.saturating_sub(1);
    let update = json!({"data": data, "expectedRevision": expected});
    match step {
        Step::Create => create(document, &data),
        Step::Put => Request::of(Method::PUT, at, update),
        Step::Merge => Request::of(Method::PATCH, format!("{at}/merge"), update),
        Step::Mutate => {
            let set = json!([{"op": "set", "path": "/revision", "value": revision}]);
            let body = json!({"mutations": set, "expectedRevision": expected});
            Request::of(Method::POST, format!("{at}/mutate"), body)
        }
        Step::Delete => Request::of(Method::DELETE, at, Value::Null),
        Step::Restore => Request::of(Method::POST, format!("{at}/restore"), Value::Null),
    }
}
