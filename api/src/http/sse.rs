//! Server-sent events: who wants them, where they go on, and the stream that carries them.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _};

use super::streams::OpenStream;
use crate::AppState;

/// The header that names the last event which the client has seen.
pub(crate) const LAST_EVENT_ID: &str = "last-event-id";

const EVENT_STREAM: &str = "text/event-stream";

/// Quiet streams carry a comment this often, so that proxies keep them open.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// An answer that goes on with each of `events`, until the caller's time is over (`expired`) or the
/// API shuts down. It counts as `open` meanwhile.
pub(crate) fn respond(
    state: &AppState,
    open: OpenStream,
    expired: impl Future<Output = ()> + Send + 'static,
    events: impl Stream<Item = Event> + Send + 'static,
) -> Response {
    let shutdown = state.shutdown.clone();
    let events = events
        .take_until(expired)
        .take_until(async move { shutdown.cancelled().await })
        .map(Ok::<_, Infallible>);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Sse::new(open.hold(events))
        .keep_alive(keep_alive)
        .into_response()
}

/// The id of the last event that the client has seen.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(LAST_EVENT_ID)
}

/// Whether the caller asks for events by name, and for nothing that is served here more (RFC 9110,
/// section 12.5.1).
pub(crate) fn wanted(headers: &HeaderMap) -> bool {
    let (mut events, mut json, mut subtypes, mut any) = (None, None, None, None);
    let ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let weight = match parts
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_str()
        {
            EVENT_STREAM => &mut events,
            "application/json" => &mut json,
            "application/*" => &mut subtypes,
            "*/*" => &mut any,
            _ => continue,
        };
        let quality = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        // What is no number is taken as none.
        *weight = Some(quality.map_or(1.0, |(_, value)| value.trim().parse().unwrap_or(0.0_f32)));
    }
    let json = json.or(subtypes).or(any).unwrap_or(0.0);
    events.is_some_and(|events| events > 0.0 && events >= json)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn events_are_sent_to_whoever_prefers_them() {
        for (accept, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream;q=0.1", true),
            ("text/event-stream;q=0", false),
            ("text/event-stream;q=0.000, */*", false),
            ("text/event-stream; q=0.4, application/json; q=0.5", false),
            ("application/json;q=0.4, text/event-stream;q=0.5", true),
            ("text/event-stream, */*", true),
            ("text/event-stream, */*;q=0.1", true),
            ("*/*", false),
            ("text/*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(wanted(&headers), expected, "{accept}");
        }
    }
}
