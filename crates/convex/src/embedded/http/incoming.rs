//! Requests on their way to their handlers: keys, bodies, parameters.

use std::io::{Seek, Write};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use tempfile::{SpooledTempFile, spooled_tempfile_in};
use tokio::time::timeout;
use url::form_urlencoded;

use super::blocking;
use crate::embedded::Embedded;
use crate::embedded::auth::Caller;
use crate::embedded::error::RequestError;

/// The largest body of everything but the import.
const BODY_LIMIT: usize = 2 << 20;
/// As much of a spooled body is kept in memory, and so much of it is written at once.
const SPOOL_MEMORY: usize = 256 << 10;
const SPOOL_CHUNK: usize = 1 << 20;

/// A request, of which nothing was looked at yet. Each handler does so in the order of section 2 of
/// the wire contract.
pub(super) struct Incoming {
    pub embedded: Embedded,
    pub headers: HeaderMap,
    pub query: Option<String>,
    body: Body,
}

impl FromRequest<Embedded> for Incoming {
    type Rejection = std::convert::Infallible;

    async fn from_request(
        request: Request,
        embedded: &Embedded,
    ) -> Result<Incoming, Self::Rejection> {
        let (head, body) = request.into_parts();
        Ok(Incoming {
            embedded: embedded.clone(),
            query: head.uri.query().map(str::to_owned),
            headers: head.headers,
            body,
        })
    }
}

impl Incoming {
    /// Who sent it. Errors: those of the key.
    pub fn caller(&self) -> Result<Caller, RequestError> {
        let keys = &self.embedded.inner.keys;
        keys.check(&self.headers, self.query.as_deref())
    }

    /// The query's parameters, all of them text.
    pub fn parameters(&self) -> Parameters {
        let pairs = form_urlencoded::parse(self.query.as_deref().unwrap_or_default().as_bytes());
        Parameters {
            values: pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
                .collect(),
            in_query: true,
        }
    }

    /// The parameters of a JSON body. Error: 400 `BadJsonBody`.
    pub async fn body_parameters(&mut self) -> Result<Parameters, RequestError> {
        Ok(Parameters {
            values: self.json().await?,
            in_query: false,
        })
    }

    /// A JSON body of the expected shape. Error: 400 `BadJsonBody`.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, RequestError> {
        parse_json(&self.text(BODY_LIMIT).await?)
    }

    /// A body of at most `limit` bytes that says it is JSON. Error: 400 `BadJsonBody`, also for one
    /// that is too large.
    async fn text(&mut self, limit: usize) -> Result<Bytes, RequestError> {
        check_json(&self.headers)?;
        let (mut arriving, mut text) = (self.arriving(limit), BytesMut::new());
        while let Some(chunk) = arriving.next().await? {
            text.extend_from_slice(&chunk);
        }
        Ok(text.freeze())
    }

    /// As [`text`](Incoming::text), for bodies of which not all that arrive at a time fit into
    /// memory.
    pub async fn json_spool(&mut self, limit: usize) -> Result<SpooledTempFile, RequestError> {
        check_json(&self.headers)?;
        self.spool(limit).await
    }

    /// A body of at most `limit` bytes, in a file beside the database when it is large. Error: 400
    /// `BadJsonBody`.
    pub async fn spool(&mut self, limit: usize) -> Result<SpooledTempFile, RequestError> {
        let mut arriving = self.arriving(limit);
        let folder = &self.embedded.inner.config.data_dir;
        let mut file = spooled_tempfile_in(SPOOL_MEMORY, folder);
        let mut waiting = BytesMut::new();
        loop {
            let chunk = arriving.next().await?;
            let last = chunk.is_none();
            waiting.extend_from_slice(&chunk.unwrap_or_default());
            if !last && waiting.len() < SPOOL_CHUNK {
                continue;
            }
            let text = waiting.split().freeze();
            file = blocking(move || {
                file.write_all(&text)?;
                if last {
                    file.rewind()?;
                }
                Ok(file)
            })
            .await?;
            if last {
                return Ok(file);
            }
        }
    }

    fn arriving(&mut self, limit: usize) -> Arriving {
        Arriving {
            chunks: std::mem::take(&mut self.body).into_data_stream(),
            received: 0,
            limit,
            patience: self.embedded.inner.config.body_patience,
        }
    }
}

/// A body on its way. Nothing that others wait for may be held while it is waited for.
struct Arriving {
    chunks: BodyDataStream,
    received: usize,
    limit: usize,
    patience: Duration,
}

impl Arriving {
    /// What arrives next; `None` at the end. Errors: 408 `RequestTimeout` when nothing does, 400
    /// `BadJsonBody`.
    async fn next(&mut self) -> Result<Option<Bytes>, RequestError> {
        loop {
            let chunk = timeout(self.patience, self.chunks.next()).await;
            let chunk = chunk.map_err(|_| RequestError {
                status: StatusCode::REQUEST_TIMEOUT,
                code: "RequestTimeout",
                message: format!("Of the body nothing came for {:?}.", self.patience),
            })?;
            let Some(chunk) = chunk else {
                return if self.received > self.limit {
                    Err(self.too_large())
                } else {
                    Ok(None)
                };
            };
            let chunk = chunk.map_err(|_| bad_body("The body did not arrive in full."))?;
            self.received = self.received.saturating_add(chunk.len());
            if self.received <= self.limit {
                return Ok(Some(chunk));
            }
            // Taken in and dropped, so that a client that is still sending gets to see the answer.
            if self.received > self.limit.saturating_mul(4) {
                return Err(self.too_large());
            }
        }
    }

    fn too_large(&self) -> RequestError {
        bad_body(format!("The body is larger than {} bytes.", self.limit))
    }
}

fn check_json(headers: &HeaderMap) -> Result<(), RequestError> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mime = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let structured = mime.starts_with("application/") && mime.ends_with("+json");
    if mime != "application/json" && !structured {
        return Err(bad_body("The content type has to be application/json."));
    }
    Ok(())
}

pub(super) fn bad_body(message: impl Into<String>) -> RequestError {
    RequestError::bad_request("BadJsonBody", message)
}

/// Parses a body of the expected shape.
pub(super) fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, RequestError> {
    serde_json::from_slice(body)
        .map_err(|error| bad_body(format!("The body is not what is expected: {error}.")))
}

/// Named parameters, from a query string (all of them text) or from a JSON body.
pub(super) struct Parameters {
    pub values: Map<String, Json>,
    in_query: bool,
}

impl Parameters {
    /// Null and absent are the same.
    pub fn text(&self, name: &str) -> Result<Option<String>, RequestError> {
        match self.values.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    pub fn integer(&self, name: &str) -> Result<Option<i64>, RequestError> {
        match self.values.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) if self.in_query => text
                .parse()
                .map(Some)
                .map_err(|_| self.wrong(name, "an integer")),
            Some(value) => value
                .as_i64()
                .map(Some)
                .ok_or_else(|| self.wrong(name, "an integer")),
        }
    }

    pub fn boolean(&self, name: &str) -> Result<bool, RequestError> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    pub fn wrong(&self, name: &str, expected: &str) -> RequestError {
        let message = format!("{name} has to be {expected}.");
        if self.in_query {
            RequestError::bad_request("BadQueryArgs", message)
        } else {
            bad_body(message)
        }
    }
}
