//! A problem: every answer that is not a success, before it has a shape.
//!
//! The usual shape is [`ErrorBody`]. A surface with another one has its routes [printed](print_as)
//! in it, also where an extractor of this kit refuses a request; or all that is below its addresses
//! ([`super::middleware::wrap`]), also where there is no route, or the time is up.

use std::fmt::Display;
use std::future::ready;

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

/// Seconds after which a caller should try again, when a part behind the API does not answer or the
/// caller asks for too much.
const RETRY_AFTER_SECS: &str = "2";

/// What is wrong with a request, or with serving it.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The status that it is answered with.
    pub status: StatusCode,
    /// A stable code, such as `invalid_request`.
    pub code: &'static str,
    /// What is wrong, in words for the caller.
    pub message: String,
    /// What else is known, by name.
    pub extra: Vec<(&'static str, Value)>,
}

impl Problem {
    /// One of which nothing else is known.
    pub fn new(status: StatusCode, code: &'static str, message: impl Display) -> Self {
        Self {
            status,
            code,
            message: message.to_string(),
            extra: Vec::new(),
        }
    }

    /// With a value that is known, if it is.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        self.extra.extend(value.map(|value| (name, value.into())));
        self
    }
}

/// The usual shape of a problem: `{"error", "message"}` and what else is known.
pub(crate) struct ErrorBody(pub Problem);

impl Serialize for ErrorBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Problem {
            code,
            message,
            extra,
            ..
        } = &self.0;
        let usual = [("error", (*code).into()), ("message", (&**message).into())];
        serializer.collect_map(usual.iter().chain(extra).map(|(name, value)| (name, value)))
    }
}

/// In the usual shape.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(ErrorBody(self.clone()))).into_response();
        if matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            let again = HeaderValue::from_static(RETRY_AFTER_SECS);
            response.headers_mut().insert(RETRY_AFTER, again);
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// How a surface prints its problems.
pub(crate) type Print = fn(&Problem) -> Response;

/// Has the problems of these routes printed by `print`. Their status and their headers stay, but
/// for those of the body.
pub(crate) fn print_as<S>(routes: Router<S>, print: Print) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let print = move |response: Response| ready(printed(response, print));
    routes.layer(map_response(print))
}

/// The answer, if it is a problem, as `print` prints it.
pub(super) fn printed(response: Response, print: Print) -> Response {
    let Some(problem) = response.extensions().get::<Problem>() else {
        return response;
    };
    let mut printed = print(problem);
    *printed.status_mut() = problem.status;
    for (name, value) in response.headers() {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            printed.headers_mut().append(name, value.clone());
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    fn problem() -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "away", "it is away");
        problem.with("part", Some("x")).with("other", None::<u64>)
    }

    fn own(problem: &Problem) -> Response {
        problem.code.into_response()
    }

    async fn answer(routes: &Router, path: &str) -> (u16, String, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes.clone().oneshot(request).await.unwrap();
        let again = response.headers()[RETRY_AFTER].to_str().unwrap().to_owned();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        (status, again, String::from_utf8(body.to_vec()).unwrap())
    }

    const USUAL: &str = r#"{"error":"away","message":"it is away","part":"x"}"#;

    fn expected(body: &str) -> (u16, String, String) {
        (503, "2".to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn a_surface_prints_problems_in_its_own_shape() {
        let routes = Router::new().route("/", get(async || problem()));
        assert_eq!(answer(&routes, "/").await, expected(USUAL));
        let routes = print_as(routes, own);
        assert_eq!(answer(&routes, "/").await, expected("away"));
    }

    #[tokio::test]
    async fn who_asks_for_too_much_is_told_when_to_come_again() {
        let too_many = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many", "too many");
        let again = too_many.into_response().headers()[RETRY_AFTER].clone();
        assert_eq!(again, "2");
    }
}
