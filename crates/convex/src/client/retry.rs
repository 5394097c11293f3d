//! How long to wait between the attempts of a call to Convex.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use sluice_retry::{Pauses, jittered};

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A server may ask for more than a job's patience; it gets no more than this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The pauses between the attempts of one call.
pub(super) fn pauses() -> Pauses {
    Pauses::new(FIRST_WAIT, LONGEST_WAIT)
}

/// How long to wait before the next attempt. What the server asked for comes first.
pub(super) fn wait(pauses: &mut Pauses, retry_after: Option<Duration>) -> Duration {
    match retry_after {
        Some(asked) => asked.min(LONGEST_RETRY_AFTER) + jittered(FIRST_WAIT),
        None => pauses.next_pause(),
    }
}

/// `Retry-After`, either in seconds or as an HTTP date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers)
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let wait = asked(&date).unwrap();
        assert!((58..=60).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(asked("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn a_wait_is_what_the_server_asks_for_within_bounds() {
        let mut pauses = pauses();
        for (asked, least, most) in [(2, 2, 3), (3600, 30, 31), (0, 0, 1)] {
            let wait = wait(&mut pauses, Some(Duration::from_secs(asked)));
            assert!(wait >= Duration::from_secs(least), "{asked}: {wait:?}");
            assert!(wait < Duration::from_secs(most), "{asked}: {wait:?}");
        }
        assert!((0..100).all(|_| wait(&mut pauses, None) <= LONGEST_WAIT));
    }
}
