//! Functions over HTTP (section 15 of the wire contract).

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::Answer;
use super::incoming::{Incoming, bad_body};
use crate::embedded::auth::{Caller, Permission};
use crate::embedded::document::check_values;
use crate::embedded::error::RequestError;
use crate::embedded::functions::{FunctionError, Mutation, Query};
use crate::embedded::page;
use crate::embedded::value::{Format, Object, Value};

const SUCCESS: &str = "{\"status\":\"success\",\"value\":";
const LOG_LINES: &str = ",\"logLines\":[]}";

#[derive(Deserialize)]
struct Call {
    path: String,
    #[serde(default)]
    args: Option<Value>,
    #[serde(default)]
    format: Option<String>,
}

impl Call {
    /// The arguments object; it may come alone or as the only item of an array.
    fn args(args: Option<Value>) -> Result<Object, RequestError> {
        let args = match args {
            None | Some(Value::Null) => Some(Value::Object(Object::new())),
            Some(Value::Array(mut items)) if items.len() == 1 => items.pop(),
            other => other,
        };
        match args.and_then(Value::untag) {
            Some(Value::Object(args)) => {
                check_values(&args)?;
                Ok(args)
            }
            _ => Err(bad_body("args has to be an object.")),
        }
    }

    /// Without a format, the npm and Rust clients get the tagged encoding, everybody else clean
    /// JSON.
    fn format(&self, headers: &HeaderMap) -> Result<Format, RequestError> {
        let client = headers
            .get("convex-client")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let tagged = ["npm-", "actions-", "rust-"]
            .iter()
            .any(|name| client.starts_with(name));
        match self.format.as_deref() {
            None if tagged => Ok(Format::Encoded),
            format => Format::parse(format),
        }
    }
}

pub(super) async fn query_get(request: Incoming) -> Answer {
    let caller = request.caller()?;
    let bad = |message: &str| RequestError::bad_request("BadQueryArgs", message);
    let parameters = request.parameters();
    let args = parameters
        .text("args")?
        .as_deref()
        .map(serde_json::from_str);
    let call = Call {
        path: parameters
            .text("path")?
            .ok_or_else(|| bad("path is missing."))?,
        args: args.transpose().map_err(|_| bad("args has to be JSON."))?,
        format: parameters.text("format")?,
    };
    run_query(caller, request, call).await
}

pub(super) async fn query_post(mut request: Incoming) -> Answer {
    let caller = request.caller()?;
    let call: Call = request.json().await?;
    run_query(caller, request, call).await
}

pub(super) async fn mutation(mut request: Incoming) -> Answer {
    let caller = request.caller()?;
    let call: Call = request.json().await?;
    let format = call.format(&request.headers)?;
    let mutation = match Mutation::parse(&call.path, Call::args(call.args)?) {
        Ok(mutation) => mutation,
        Err(message) => return Ok(json_text(failure(&message))),
    };
    caller.may(Permission::RunInternalMutations)?;
    let writer = &request.embedded.inner.writer;
    let value = writer
        .write(move |transaction| mutation.run(transaction))
        .await?;
    let mut text = SUCCESS.as_bytes().to_vec();
    value.write(format, &mut text);
    text.extend_from_slice(LOG_LINES.as_bytes());
    Ok(json_text(text))
}

async fn run_query(caller: Caller, request: Incoming, call: Call) -> Answer {
    let format = call.format(&request.headers)?;
    let query = match Query::parse(&call.path, Call::args(call.args)?) {
        Ok(query) => query,
        Err(message) => return Ok(json_text(failure(&message))),
    };
    caller.may(Permission::RunInternalQueries)?;
    let store = request.embedded.inner.store.clone();
    page::stream(&request.embedded, move |sink| {
        sink.push(SUCCESS);
        match query.run(&store.reader()?, format, sink) {
            Ok(()) => sink.push(LOG_LINES),
            // Functions throw before their first document is on its way.
            Err(FunctionError::Thrown(message)) => *sink.text() = failure(&message),
            Err(FunctionError::Request(error)) => return Err(error),
        }
        Ok(())
    })
    .await
}

fn failure(message: &str) -> Vec<u8> {
    json!({ "status": "error", "errorMessage": message, "logLines": [] })
        .to_string()
        .into_bytes()
}

fn json_text(text: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
