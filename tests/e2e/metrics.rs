//! What `/metrics` says, of the API and of workers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_api::auth::{Identity, Scope, mint};
use sluice_test_support::{free_port, project_root};

use crate::harness::{Deployment, SECRET, eventually, files};

/// Everything that a scrape says, in the text format of Prometheus.
struct Scrape {
    text: String,
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
        Self {
            text: text.to_owned(),
            families,
            series,
        }
    }

    fn value(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }
}

/// Runs Prometheus' own check, which has to find no fault.
fn promtool(arguments: &[&str], input: &str) {
    let mut promtool = Command::new(project_root().join(".promtool/promtool"))
        .args(arguments)
        .current_dir(project_root().join("deploy/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed by scripts/install-promtool");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.is_empty(),
        "{arguments:?}: {said}"
    );
}

/// The metrics of Sluice that a text names.
fn named_in(text: &str, names: &mut BTreeSet<String>) {
    let words = text.split(|it: char| !it.is_ascii_lowercase() && it != '_');
    for word in words.filter(|word| word.starts_with("sluice_")) {
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|it| word.strip_suffix(it));
        names.insert(family.unwrap_or(word).to_owned());
    }
}

/// All texts of a JSON value that stand below a field.
fn texts<'a>(value: &'a Value, field: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == field => found.push(text),
                    _ => texts(value, field, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|it| texts(it, field, found)),
        _ => {}
    }
}

#[test]
fn alerts_fire_when_they_should_and_each_says_what_to_do() {
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "alerts.test.yml"], "");
    promtool(&["check", "config", "--syntax-only", "prometheus.yml"], "");
    let alerts = fs::read_to_string(project_root().join("deploy/prometheus/alerts.yml")).unwrap();
    let tests =
        fs::read_to_string(project_root().join("deploy/prometheus/alerts.test.yml")).unwrap();
    let manual = fs::read_to_string(project_root().join("docs/operating.md")).unwrap();
    let headings: HashSet<String> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let mut alert = "";
    for line in alerts.lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            alert = name;
            assert!(
                tests.contains(&format!("alertname=\"{alert}\"")),
                "{alert} has no test"
            );
        }
        if let Some(runbook) = line.trim().strip_prefix("runbook: docs/operating.md#") {
            assert!(
                headings.contains(runbook),
                "{alert} has no section {runbook}"
            );
        }
    }
    assert_eq!(
        alerts.matches("- alert:").count(),
        alerts.matches("runbook:").count()
    );
}

#[tokio::test]
async fn every_metric_that_alerts_and_the_dashboard_name_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let objects = format!("file://{}", folder.path().display());
    let mut deployment = Deployment::without_workers(&[("SLUICE_OBJECTS_URL", &objects)]).await;
    let address = format!("127.0.0.1:{}", free_port());
    let worker = deployment.worker_with(&[("SLUICE_WORK_LISTEN", &address)]);
    deployment.workers.push(worker);
    let client = &deployment.client;
    client.import(&files("ann", 3)).await;
    client.sync("ann", "allOne").await;
    client.entry("ann", "ann-0").await;
    deployment.wait_until_tailed().await;
    // A content is kept.
    let identity = Identity {
        user: "ann",
        tenant: "acme",
        groups: &[],
    };
    let scopes = [Scope::FilesRead, Scope::FilesWrite];
    let token = mint(SECRET, identity, &scopes, Duration::from_secs(600)).unwrap();
    let share = client.request("POST", "/api/v1/shares").bearer_auth(&token);
    let share = share.json(&json!({"name": "mine"})).send().await.unwrap();
    let share: Value = share.json().await.unwrap();
    let path = format!(
        "/api/v1/sync/upload/fil_1?share_id={}",
        share["id"].as_str().unwrap()
    );
    let upload = client
        .request("PUT", &path)
        .bearer_auth(&token)
        .body("content");
    assert_eq!(upload.send().await.unwrap().status(), 200);

    let mut named = BTreeSet::new();
    let alerts = fs::read_to_string(project_root().join("deploy/prometheus/alerts.yml")).unwrap();
    for line in alerts
        .lines()
        .filter(|line| line.trim().starts_with("expr:"))
    {
        named_in(line, &mut named);
    }
    let dashboard = fs::read(project_root().join("deploy/grafana/dashboards/sluice.json")).unwrap();
    let dashboard: Value = serde_json::from_slice(&dashboard).unwrap();
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 20);
    expressions.iter().for_each(|it| named_in(it, &mut named));
    eventually("the tail has said how far it is", async || {
        let worker = scrape_worker(&address).await;
        worker.is_some_and(|it| it.families.contains_key("sluice_tail_lag_seconds"))
    })
    .await;
    let parts = [
        scrape_api(&deployment).await,
        scrape_worker(&address).await.unwrap(),
    ];
    let is_there = |name: &String| parts.iter().any(|it| it.families.contains_key(name));
    let missing: Vec<_> = named.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
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
    promtool(&["check", "metrics"], &api.text);
    promtool(&["check", "metrics"], &worker.text);
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
