//! Requests on their way to their handlers: keys, bodies, parameters.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use url::form_urlencoded;

use crate::embedded::Embedded;
use crate::embedded::auth::Caller;
use crate::embedded::error::RequestError;

/// The largest body of everything but the import.
const BODY_LIMIT: usize = 2 << 20;

/// A request, of which nothing was looked at yet. Each handler does so in the order of section 2 of the wire contract.
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

    /// The body, for whoever takes it as it arrives.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// A JSON body of the expected shape. Error: 400 `BadJsonBody`.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, RequestError> {
        parse_json(&self.text(BODY_LIMIT).await?)
    }

    /// A body of at most `limit` bytes that says it is JSON. Error: 400 `BadJsonBody`, also for one that is too large.
    pub async fn text(&mut self, limit: usize) -> Result<Bytes, RequestError> {
        read_json(&self.headers, std::mem::take(&mut self.body), limit).await
    }
}

async fn read_json(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, RequestError> {
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
    let mut text = BytesMut::new();
    let (mut received, mut chunks) = (0, body.into_data_stream());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| bad_body("The body did not arrive in full."))?;
        received += chunk.len();
        if received <= limit {
            text.extend_from_slice(&chunk);
        } else if received > 4 * limit {
            break;
        } else {
            // Taken in and dropped, so that a client that is still sending gets to see the answer.
            text.clear();
        }
    }
    if received > limit {
        return Err(bad_body(format!("The body is larger than {limit} bytes.")));
    }
    Ok(text.freeze())
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
