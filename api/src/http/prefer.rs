//! The `Prefer` request header (RFC 7240): whether, and for how long, a caller wants to wait.

use std::time::Duration;

use axum::http::HeaderMap;

/// What a caller prefers; what it does not say is left to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    respond_async: bool,
    wait: Option<u64>,
}

impl Prefer {
    /// Reads all `Prefer` headers. Of a preference given twice the first counts; unknown and
    /// malformed ones are ignored, as the RFC asks.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let preferences = headers
            .get_all("prefer")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|preference| preference.split(';').next());
        for preference in preferences {
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            if name.trim().eq_ignore_ascii_case("respond-async") {
                prefer.respond_async = true;
            } else if name.trim().eq_ignore_ascii_case("wait") && prefer.wait.is_none() {
                prefer.wait = value.trim().trim_matches('"').parse().ok();
            }
        }
        prefer
    }

    /// Whether the caller would rather have the answer later.
    pub(crate) fn is_async(self) -> bool {
        self.respond_async
    }

    /// How long to wait when the server would wait at most `longest`.
    ///
    /// `wait` beside `respond-async` is the time to try before answering asynchronously (RFC 7240,
    /// section 4.3).
    pub(crate) fn patience(self, longest: Duration) -> Duration {
        match self.wait {
            Some(seconds) => Duration::from_secs(seconds).min(longest),
            None if self.respond_async => Duration::ZERO,
            None => longest,
        }
    }

    /// The value of `Preference-Applied`, naming the preferences that were honoured, if any were.
    pub(crate) fn applied(self, longest: Duration) -> Option<String> {
        let wait = self
            .wait
            .filter(|&seconds| Duration::from_secs(seconds) <= longest)
            .map(|seconds| format!("wait={seconds}"));
        let respond_async = self.respond_async.then(|| "respond-async".to_owned());
        let applied: Vec<String> = respond_async.into_iter().chain(wait).collect();
        (!applied.is_empty()).then(|| applied.join(", "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    fn prefer(values: &[&str]) -> Prefer {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("prefer", value.parse().unwrap());
        }
        Prefer::from_headers(&headers)
    }

    #[test]
    fn without_the_header_the_server_decides() {
        assert_eq!(prefer(&[]).patience(LONGEST), LONGEST);
        assert_eq!(prefer(&[]).applied(LONGEST), None);
    }

    #[test]
    fn respond_async_does_not_wait() {
        let prefer = prefer(&["respond-async"]);
        assert_eq!(prefer.patience(LONGEST), Duration::ZERO);
        assert_eq!(prefer.applied(LONGEST).as_deref(), Some("respond-async"));
    }

    #[test]
    fn wait_shortens_the_wait() {
        let prefer = prefer(&["wait=5"]);
        assert_eq!(prefer.patience(LONGEST), Duration::from_secs(5));
        assert_eq!(prefer.applied(LONGEST).as_deref(), Some("wait=5"));
    }

    #[test]
    fn a_wait_beyond_the_servers_is_cut_and_not_reported_as_applied() {
        let prefer = prefer(&["wait=3600"]);
        assert_eq!(prefer.patience(LONGEST), LONGEST);
        assert_eq!(prefer.applied(LONGEST), None);
    }

    #[test]
    fn respond_async_with_wait_waits_that_long() {
        let prefer = prefer(&["Respond-Async, WAIT = \"7\"; x=y"]);
        assert_eq!(prefer.patience(LONGEST), Duration::from_secs(7));
        assert_eq!(
            prefer.applied(LONGEST).as_deref(),
            Some("respond-async, wait=7")
        );
    }

    #[test]
    fn preferences_come_in_several_headers_and_the_first_counts() {
        let prefer = prefer(&["return=minimal", "wait=2, wait=9"]);
        assert_eq!(prefer.patience(LONGEST), Duration::from_secs(2));
    }

    #[test]
    fn malformed_and_unknown_preferences_are_ignored() {
        for value in [
            "wait=soon",
            "wait=-1",
            "wait",
            "respond",
            "handling=strict",
            ",",
        ] {
            assert_eq!(prefer(&[value]), Prefer::default(), "{value}");
        }
    }
}
