//! The metrics of requests, found again without their labels being made anew for each request.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};

/// What requests were answered, by route. There are no more of them than the API has routes,
/// methods and statuses.
#[derive(Default)]
pub(super) struct Requests(RwLock<HashMap<Box<str>, Vec<Series>>>);

/// The metrics of one method and status of a route.
struct Series {
    method: &'static str,
    status: StatusCode,
    seconds: Histogram,
    requests: Counter,
}

impl Requests {
    /// Takes in a request, and how long its answer took.
    pub fn record(&self, method: &Method, route: &str, status: StatusCode, taken: Duration) {
        let method = known(method);
        let is_it = |series: &&Series| series.method == method && series.status == status;
        {
            let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(series) = all.get(route).and_then(|of| of.iter().find(is_it)) {
                return series.record(taken);
            }
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let of_route = all.entry(route.into()).or_default();
        // Another request may have been the first one meanwhile.
        if !of_route.iter().any(|series| is_it(&series)) {
            of_route.push(Series::new(method, route, status));
        }
        if let Some(series) = of_route.iter().find(is_it) {
            series.record(taken);
        }
    }
}

impl Series {
    fn new(method: &'static str, route: &str, status: StatusCode) -> Self {
        let labels = [("method", method.to_owned()), ("route", route.to_owned())];
        let seconds = histogram!("sluice_http_request_seconds", &labels);
        let [method_label, route] = labels;
        let status_label = ("status", status.as_str().to_owned());
        let labels = [method_label, route, status_label];
        Self {
            method,
            status,
            seconds,
            requests: counter!("sluice_http_requests_total", &labels),
        }
    }

    fn record(&self, taken: Duration) {
        self.seconds.record(taken.as_secs_f64());
        self.requests.increment(1);
    }
}

/// The method as metrics name it: callers can invent others, each of which would be a series for
/// ever.
fn known(method: &Method) -> &'static str {
    static KNOWN: [Method; 9] = [
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
    let known = KNOWN.iter().find(|known| *known == method);
    known.map_or("other", Method::as_str)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn methods_that_callers_invent_are_one_in_metrics() {
        assert_eq!(known(&Method::PATCH), "PATCH");
        for invented in ["X1", "get", "PROPFIND"] {
            assert_eq!(known(&invented.parse().unwrap()), "other");
        }
    }

    #[test]
    fn requests_are_counted_by_method_route_and_status() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let requests = Requests::default();
        metrics::with_local_recorder(&recorder, || {
            for status in [200, 200, 404] {
                let status = StatusCode::from_u16(status).unwrap();
                requests.record(&Method::GET, "/a/{id}", status, Duration::from_millis(1));
            }
            let ok = StatusCode::OK;
            requests.record(&Method::PUT, "/a/{id}", ok, Duration::from_millis(1));
            requests.record(&Method::GET, "/b", ok, Duration::from_millis(1));
        });
        let printed = recorder.handle().render();
        for (labels, count) in [
            (r#"method="GET",route="/a/{id}",status="200""#, 2),
            (r#"method="GET",route="/a/{id}",status="404""#, 1),
            (r#"method="PUT",route="/a/{id}",status="200""#, 1),
            (r#"method="GET",route="/b",status="200""#, 1),
        ] {
            let line = format!("sluice_http_requests_total{{{labels}}} {count}");
            assert!(printed.contains(&line), "{line}\n{printed}");
        }
        let times = r#"sluice_http_request_seconds_count{method="GET",route="/a/{id}"} 3"#;
        assert!(printed.contains(times), "{printed}");
    }
}
