//! What `/metrics` says, of the API and of workers.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use sluice_test_support::free_port;

use crate::harness::{Deployment, eventually, files};

/// Everything that a scrape says, in the text format of Prometheus.
struct Scrape {
    /// Of each family: its type, its help.
    families: HashMap<String, (String, Option<String>)>,
    /// Each series as it is written, and its value.
    series: HashMap<String, f64>,
}

impl Scrape {
    fn of(text: &str) -> Self {
        let (mut families, mut helps, mut series) =
            (HashMap::new(), HashMap::new(), HashMap::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(helps.insert(name.to_owned(), help.to_owned()).is_none());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                families.insert(name.to_owned(), (kind.to_owned(), None));
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(
                    series
                        .insert(name.to_owned(), value.parse().unwrap())
                        .is_none(),
                    "{name} twice"
                );
            }
        }
        for (name, help) in helps {
            families.get_mut(&name).unwrap().1 = Some(help);
        }
        Self { families, series }
    }

    /// What `promtool check metrics` would find fault with, by its documented rules.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, (kind, help)) in &self.families {
            let mut fault = |rule: &str| faults.push(format!("{name} ({kind}): {rule}"));
            if help.as_deref().is_none_or(|help| help.trim().is_empty()) {
                fault("no help text");
            }
            if (kind == "counter") != name.ends_with("_total") {
                fault("counters, and only they, end in _total");
            }
            if !["counter", "gauge", "histogram"].contains(&kind.as_str()) {
                fault("neither counter nor gauge nor histogram");
            }
            let words: HashSet<&str> = name.split('_').collect();
            for word in [
                "counter",
                "gauge",
                "histogram",
                "summary",
                "ms",
                "msec",
                "millis",
                "milliseconds",
                "us",
                "s",
                "sec",
                "minutes",
                "kb",
                "mb",
                "kib",
                "mib",
                "kilobytes",
                "megabytes",
                "count",
                "sum",
                "bucket",
            ] {
                if words.contains(word) {
                    fault("names a type or another unit than the base one");
                }
            }
            if name
                .chars()
                .any(|it| !it.is_ascii_lowercase() && it != '_' && !it.is_ascii_digit())
            {
                fault("is not in snake_case");
            }
        }
        faults
    }

    fn value(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }
}

async fn scrape_api(deployment: &Deployment) -> Scrape {
    Scrape::of(
        &deployment
            .client
            .get("/metrics")
            .await
            .text()
            .await
            .unwrap(),
    )
}

async fn scrape_worker(address: &str) -> Option<Scrape> {
    let answer = reqwest::get(format!("http://{address}/metrics"))
        .await
        .ok()?;
    Some(Scrape::of(&answer.text().await.ok()?))
}

#[tokio::test]
async fn every_metric_of_every_part_has_a_help_and_follows_the_rules_of_prometheus() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let address = format!("127.0.0.1:{}", free_port());
    let worker = deployment.worker_with(&[("SLUICE_WORK_LISTEN", &address)]);
    deployment.workers.push(worker);
    let client = &deployment.client;
    client.import(&files("ann", 3)).await;
    client.sync("ann", "allOne").await;
    client.entry("ann", "ann-0").await;
    client.invalidate("ann", "OUT").await;
    client.prefetch("ann", 1).await;

    let (api, worker) = (
        scrape_api(&deployment).await,
        scrape_worker(&address).await.unwrap(),
    );
    assert_eq!(api.faults(), [] as [String; 0]);
    assert_eq!(worker.faults(), [] as [String; 0]);
    for (part, name) in [
        (&api, "sluice_http_request_seconds"),
        (&api, "sluice_store_script_seconds"),
        (&worker, "sluice_queue_run_seconds"),
        (&worker, "sluice_convex_request_seconds"),
    ] {
        assert_eq!(part.families[name].0, "histogram", "{name}");
    }
}

#[tokio::test]
async fn a_process_that_has_done_nothing_yet_shows_its_gauges_and_what_may_go_wrong_at_zero() {
    let deployment = Deployment::without_workers(&[]).await;
    let scrape = scrape_api(&deployment).await;
    for queue in [
        "sync",
        "prefetch",
        "invalidate",
        "documents",
        "sweep",
        "purge",
        "sleep-devices",
    ] {
        for series in [
            format!(r#"sluice_queue_depth{{queue="{queue}",state="available"}}"#),
            format!(r#"sluice_queue_depth{{queue="{queue}",state="dead"}}"#),
            format!(r#"sluice_queue_oldest_waiting_seconds{{queue="{queue}"}}"#),
            format!(r#"sluice_queue_paused{{queue="{queue}"}}"#),
            format!(r#"sluice_queue_workers{{queue="{queue}"}}"#),
            format!(r#"sluice_queue_jobs_total{{queue="{queue}",outcome="dead"}}"#),
            format!(r#"sluice_queue_rescued_total{{queue="{queue}",outcome="buried"}}"#),
            format!(r#"sluice_queue_damaged_total{{queue="{queue}"}}"#),
        ] {
            assert_eq!(scrape.value(&series), Some(0.0), "{series}");
        }
    }
    for series in [
        r#"sluice_http_connections_refused_total{limit="all"}"#,
        r#"sluice_jwks_fetches_total{outcome="error"}"#,
        r#"sluice_queue_command_retries_total{command="enqueue"}"#,
        "sluice_valkey_subscription_lost_total",
        "sluice_accesses_lost_total",
        r#"sluice_tail_errors_total{kind="convex"}"#,
    ] {
        assert_eq!(scrape.value(series), Some(0.0), "{series}");
    }
}

#[tokio::test]
async fn a_queue_that_stands_still_shows_in_the_gauges_of_every_process() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    let queues = deployment.queues().await;
    queues.pause("sync").await.unwrap();
    for user in ["ann", "ben"] {
        client
            .enqueue("sync", &json!({"user": user, "type": "allOne"}))
            .await;
    }
    eventually(
        "the gauges show the jobs that wait, and that nobody works",
        async || {
            let scrape = scrape_api(&deployment).await;
            scrape.value(r#"sluice_queue_depth{queue="sync",state="available"}"#) == Some(2.0)
                && scrape.value(r#"sluice_queue_oldest_waiting_seconds{queue="sync"}"#) > Some(0.0)
                && scrape.value(r#"sluice_queue_paused{queue="sync"}"#) == Some(1.0)
                && scrape.value(r#"sluice_queue_workers{queue="sync"}"#) == Some(0.0)
        },
    )
    .await;

    queues.resume("sync").await.unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let worker = deployment.worker_with(&[("SLUICE_WORK_LISTEN", &address)]);
    deployment.workers.push(worker);
    eventually("the gauges of both show that somebody works", async || {
        let (api, worker) = (scrape_api(&deployment).await, scrape_worker(&address).await);
        [Some(api), worker].iter().all(|scrape| {
            let value = |series: &str| scrape.as_ref().and_then(|scrape| scrape.value(series));
            value(r#"sluice_queue_depth{queue="sync",state="available"}"#) == Some(0.0)
                && value(r#"sluice_queue_depth{queue="sync",state="completed"}"#) == Some(2.0)
                && value(r#"sluice_queue_paused{queue="sync"}"#) == Some(0.0)
                && value(r#"sluice_queue_oldest_waiting_seconds{queue="sync"}"#) == Some(0.0)
                && value(r#"sluice_queue_workers{queue="sync"}"#) == Some(1.0)
        })
    })
    .await;
}
