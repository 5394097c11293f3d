//! What happens to every request: an id, a span, metrics, limits of its time and its body, and JSON
//! even when a handler panics.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;
use tower::Service;
use tower::layer::layer_fn;
use tower_http::cors::{AllowHeaders, AllowMethods, CorsLayer, ExposeHeaders};
use tracing::Instrument as _;

use super::MAX_BODY_BYTES;
use super::error::ApiError;
use super::measure::Requests;
use super::problem::{Print, printed};
use crate::AppState;

/// What a request may take beyond the time it waits for its job.
const TIME_BEYOND_WAIT: Duration = Duration::from_secs(15);
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 64;

/// Puts all of it around the routes. `surface` says how problems of an address are printed, where
/// that is not the usual way.
///
/// Every layer is another box around each request, and each is copied with all that are within. So
/// there is one, and a second where other origins may call.
pub(crate) fn wrap(
    routes: Router<AppState>,
    state: &AppState,
    surface: fn(&Uri) -> Option<Print>,
) -> Router<AppState> {
    let limit = state.config.request_wait + TIME_BEYOND_WAIT;
    let routes = routes.layer(layer_fn(front(limit, surface)));
    match state.config.cors_origins.as_slice() {
        [] => routes,
        origins => routes.layer(cors(origins)),
    }
}

/// What puts a front before a route.
fn front<S>(
    limit: Duration,
    surface: fn(&Uri) -> Option<Print>,
) -> impl Fn(S) -> Front<S> + Clone + Send + Sync + 'static {
    let shared = Arc::new(Shared {
        limit,
        surface,
        requests: Requests::default(),
    });
    move |inner| Front {
        inner,
        shared: shared.clone(),
    }
}

/// What all requests share.
struct Shared {
    /// The time until an answer begins; event streams go on from there.
    limit: Duration,
    surface: fn(&Uri) -> Option<Print>,
    requests: Requests,
}

/// A route with what happens to each of its requests.
#[derive(Clone)]
struct Front<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Service<Request> for Front<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let begun = Instant::now();
        let shared = self.shared.clone();
        let id = request_id(request.headers());
        let method = request.method().clone();
        // The pattern, not the path: metrics must not grow a series for each file.
        let route = request.extensions().get::<MatchedPath>().cloned();
        let print = (shared.surface)(request.uri());
        DefaultBodyLimit::max(MAX_BODY_BYTES).apply(&mut request);
        let arrival = is_long(request.headers()).then(Arc::<Mutex<_>>::default);
        if let Some(arrival) = &arrival {
            request = with_arrival(request, arrival.clone());
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
            // Neither headers nor query, which may hold tokens or users.
            let span = tracing::info_span!("request", %id, %method, %route);
            let answer = answered(answer, shared.limit, arrival);
            let mut response = answer.instrument(span.clone()).await;
            if let Some(print) = print {
                response = printed(response, print);
            }

            let (status, taken) = (response.status(), begun.elapsed());
            span.in_scope(|| tracing::debug!(status = status.as_u16(), ?taken, "answered"));
            shared.requests.record(&method, route, status, taken);
            if let Ok(id) = HeaderValue::try_from(id) {
                response.headers_mut().insert(X_REQUEST_ID, id);
            }
            Ok(response)
        })
    }
}

/// When the last bytes of a body came in; none before the first.
type Arrival = Arc<Mutex<Option<Instant>>>;

/// The answer, within the limit, and also when the handler panics. A body may take as long as it is
/// long: where its arrival is known, the time is counted from the last bytes that came in.
async fn answered(
    answer: impl Future<Output = Result<Response, Infallible>>,
    limit: Duration,
    arrival: Option<Arrival>,
) -> Response {
    let begun = Instant::now();
    let mut answer = std::pin::pin!(AssertUnwindSafe(answer).catch_unwind());
    loop {
        let arrived = arrival.as_ref().and_then(|arrival| {
            let arrived = arrival.lock().unwrap_or_else(PoisonError::into_inner);
            *arrived
        });
        let left = limit.saturating_sub(arrived.unwrap_or(begun).elapsed());
        if left.is_zero() {
            return ApiError::Timeout.into_response();
        }
        match tokio::time::timeout(left, &mut answer).await {
            Ok(Ok(Ok(response))) => return response,
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(panic)) => return panicked(panic),
            Err(_) => {}
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
fn with_arrival(request: Request, arrival: Arrival) -> Request {
    request.map(|body| {
        let bytes = body.into_data_stream().inspect(move |_| {
            *arrival.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        });
        Body::from_stream(bytes)
    })
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

fn cors(origins: &[HeaderValue]) -> CorsLayer {
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

    use axum::body::to_bytes;
    use axum::http::StatusCode;
    use axum::routing::{any, put};
    use futures_util::stream;
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::problem::Problem;

    const LIMIT: Duration = Duration::from_secs(15);

    async fn body(response: Response) -> String {
        let body = to_bytes(response.into_body(), usize::MAX).await;
        String::from_utf8(body.unwrap().to_vec()).unwrap()
    }

    /// What comes of a request whose body comes in these pieces, one every 10 s, and then no more.
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
        let front = layer_fn(front(LIMIT, |_| None));
        let routes = Router::new().route("/", put(read)).layer(front);
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
    async fn problems_are_printed_by_the_surface_of_their_address() {
        let surface = |address: &Uri| {
            let own: Print = |problem| problem.code.into_response();
            (address.path() == "/own").then_some(own)
        };
        let away = async || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "away", "it is away");
        let routes = Router::new()
            .fallback(any(away))
            .layer(layer_fn(front(LIMIT, surface)));
        for (path, expected) in [
            ("/own", "away"),
            ("/other", r#"{"error":"away","message":"it is away"}"#),
        ] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = routes.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 503);
            assert_eq!(body(response).await, expected);
        }
    }

    #[tokio::test]
    async fn a_panic_is_answered_as_an_internal_error_that_does_not_tell_its_message() {
        let panics = async { panic!("secret detail") };
        let response = answered(panics, LIMIT, None).await;
        assert_eq!(response.status(), 500);
        let body = body(response).await;
        assert!(body.starts_with(r#"{"error":"internal","#), "{body}");
        assert!(!body.contains("secret detail"), "{body}");
    }
}
