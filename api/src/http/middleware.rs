//! What happens to every request: an id, a span, metrics, a time limit, and JSON even when a
//! handler panics.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, CorsLayer, ExposeHeaders};
use tracing::Instrument as _;

use super::MAX_BODY_BYTES;
use super::error::ApiError;
use super::problem::{Print, print_by};
use crate::AppState;

/// What a request may take beyond the time it waits for its job.
const TIME_BEYOND_WAIT: Duration = Duration::from_secs(15);
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 64;

/// Puts all of it around the routes. `surface` says how problems of an address are printed, where
/// that is not the usual way.
pub(crate) fn wrap(
    routes: Router<AppState>,
    state: &AppState,
    surface: fn(&Uri) -> Option<Print>,
) -> Router<AppState> {
    // The last layer is the outermost.
    routes
        .layer(from_fn_with_state(state.clone(), limit_time))
        .layer(cors(&state.config.cors_origins))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(move |request, next| {
            print_by(surface, request, next)
        }))
        .layer(from_fn(observe))
}

/// Names one request in logs and answers. A caller may bring its own in `x-request-id`.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(X_REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()))
        // What goes into logs must not be able to imitate them.
        .filter(|id| {
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        })
        .map_or_else(|| format!("{:016x}", rand::random::<u64>()), str::to_owned)
}

async fn observe(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    // The pattern, not the path: metrics must not grow a series for each file.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    // Neither headers nor query, which may hold tokens or users.
    let span = tracing::info_span!("request", %id, %method, %route);

    let mut response = next.run(request).instrument(span.clone()).await;

    let (status, taken) = (response.status(), begun.elapsed());
    span.in_scope(|| tracing::debug!(status = status.as_u16(), ?taken, "answered"));
    let labels = [("method", known(&method).to_owned()), ("route", route)];
    metrics::histogram!("sluice_http_request_seconds", &labels).record(taken.as_secs_f64());
    let [method, route] = labels;
    metrics::counter!(
        "sluice_http_requests_total",
        &[method, route, ("status", status.as_u16().to_string())]
    )
    .increment(1);
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    response
}

/// The method as metrics name it: callers can invent others, each of which would be a series for
/// ever.
fn known(method: &Method) -> &str {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ];
    match KNOWN.contains(method) {
        true => method.as_str(),
        false => "other",
    }
}

/// Limits the time until the answer begins; event streams go on from there. A body may take as long
/// as it is long: where it is, the time is counted from the last bytes that came in.
async fn limit_time(State(state): State<AppState>, request: Request, next: Next) -> Response {
    answered_within(state.config.request_wait + TIME_BEYOND_WAIT, request, next).await
}

async fn answered_within(limit: Duration, request: Request, next: Next) -> Response {
    if !is_long(request.headers()) {
        return tokio::time::timeout(limit, next.run(request))
            .await
            .unwrap_or_else(|_| ApiError::Timeout.into_response());
    }
    let arrival = Arc::new(Mutex::new(Instant::now()));
    let request = with_arrival(request, arrival.clone());
    let mut answer = std::pin::pin!(next.run(request));
    loop {
        let last = *arrival.lock().unwrap_or_else(PoisonError::into_inner);
        let left = limit.saturating_sub(last.elapsed());
        if left.is_zero() {
            return ApiError::Timeout.into_response();
        }
        if let Ok(answer) = tokio::time::timeout(left, &mut answer).await {
            return answer;
        }
    }
}

/// Whether a body is longer than most: content of a file, or a large batch.
fn is_long(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.is_some_and(|length: u64| length > MAX_BODY_BYTES as u64)
}

/// The request, whose body takes note of when its last bytes came in.
fn with_arrival(request: Request, arrival: Arc<Mutex<Instant>>) -> Request {
    request.map(|body| {
        let bytes = body.into_data_stream().inspect(move |_| {
            *arrival.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        });
        Body::from_stream(bytes)
    })
}

fn cors(origins: &[HeaderValue]) -> CorsLayer {
    if origins.is_empty() {
        return CorsLayer::new();
    }
    CorsLayer::new()
        .allow_origin(origins.to_vec())
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list([
            X_REQUEST_ID,
            HeaderName::from_static("etag"),
            HeaderName::from_static("x-cache"),
            HeaderName::from_static("location"),
            HeaderName::from_static("preference-applied"),
            HeaderName::from_static("retry-after"),
        ]))
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(message, "a handler panicked");
    ApiError::Internal.into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::convert::Infallible;

    use axum::body::to_bytes;
    use axum::http::StatusCode;
    use axum::routing::put;
    use futures_util::stream;
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn methods_that_callers_invent_are_one_in_metrics() {
        assert_eq!(known(&Method::PATCH), "PATCH");
        for invented in ["X1", "get", "PROPFIND"] {
            assert_eq!(known(&invented.parse().unwrap()), "other");
        }
    }

    /// What comes of a request whose body comes in these pieces, one every 10 s, and then no more, of
    /// a limit of 15 s.
    async fn answer_to(pieces: usize, length: usize) -> StatusCode {
        let pieces = stream::iter(0..pieces).then(|_| async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Ok::<_, Infallible>(vec![0; 10_000])
        });
        let request = Request::put("/")
            .header(CONTENT_LENGTH, length)
            .body(Body::from_stream(pieces.chain(stream::pending())));
        let wanted = length / 10_000;
        let read = async move |body: Body| {
            let mut bytes = body.into_data_stream().take(wanted);
            while bytes.next().await.is_some() {}
        };
        let limit = Duration::from_secs(15);
        let routes = Router::new()
            .route("/", put(read))
            .layer(from_fn(move |request, next| {
                answered_within(limit, request, next)
            }));
        routes.oneshot(request.unwrap()).await.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_body_has_time_as_long_as_it_comes_in() {
        assert_eq!(answer_to(5, 50_000).await, StatusCode::OK);
        assert_eq!(answer_to(3, 50_000).await, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(answer_to(0, 50_000).await, StatusCode::GATEWAY_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_body_has_the_time_of_any_request() {
        assert_eq!(answer_to(1, 10_000).await, StatusCode::OK);
        assert_eq!(answer_to(0, 10_000).await, StatusCode::GATEWAY_TIMEOUT);
    }

    #[tokio::test]
    async fn a_panic_is_answered_as_an_internal_error_that_does_not_tell_its_message() {
        let response = panicked(Box::new("secret detail"));
        assert_eq!(response.status(), 500);
        let body = to_bytes(response.into_body(), usize::MAX).await;
        let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
        assert!(body.starts_with(r#"{"error":"internal","#), "{body}");
        assert!(!body.contains("secret detail"), "{body}");
    }
}
