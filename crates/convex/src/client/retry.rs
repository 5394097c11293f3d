use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A server may ask for more than a job's patience; it gets no more than this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// How long to wait before the next attempt after `failures` (≥ 1) failed ones: exponential with
/// full jitter, so that many clients that failed together do not come back together. What the
/// server asked for comes first.
pub(super) fn wait(failures: u32, retry_after: Option<Duration>) -> Duration {
    if let Some(asked) = retry_after {
        return asked.min(LONGEST_RETRY_AFTER) + jitter(FIRST_WAIT);
    }
    let doublings = failures.saturating_sub(1).min(16);
    jitter((FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT))
}

fn jitter(up_to: Duration) -> Duration {
    up_to.mul_f64(rand::random::<f64>())
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
    fn waits_grow_but_stay_bounded() {
        for failures in 1..100 {
            assert!(wait(failures, None) <= LONGEST_WAIT);
            assert!(
                wait(failures, Some(Duration::from_secs(3600))) <= LONGEST_RETRY_AFTER + FIRST_WAIT
            );
            assert!(wait(failures, Some(Duration::from_secs(2))) >= Duration::from_secs(2));
        }
        let longest = |failures| (0..500).map(|_| wait(failures, None)).max().unwrap();
        assert!(longest(5) > longest(1));
    }
}
