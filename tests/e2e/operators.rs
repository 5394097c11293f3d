//! What operators see and do from a terminal, and workers that hear them.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use sluice_queue::{NewJob, State};

use crate::harness::{Deployment, eventually};

/// Runs `sluice` as an operator of the deployment. Whether it went well, and what it printed.
fn sluice(deployment: &Deployment, arguments: &[&str]) -> (bool, String) {
    let token = deployment.client.token("ops", "admin", 600);
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(arguments)
        .env("SLUICE_API", deployment.client.address("/"))
        .env("SLUICE_TOKEN", token)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn done(deployment: &Deployment, arguments: &[&str]) -> String {
    let (well, said) = sluice(deployment, arguments);
    assert!(well, "{arguments:?}: {said}");
    said
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

#[tokio::test]
async fn jobs_are_listed_shown_retried_and_watched_from_a_terminal() {
    let mut deployment = Deployment::without_workers(&[]).await;
    deployment.leaves_jobs(State::Dead);
    let queues = deployment.queues().await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let job = NewJob {
            user: Some(format!("usr_{n}")),
            ..NewJob::new("sync", &json!({"user": n})).unwrap()
        };
        ids.push(queues.enqueue(job).await.unwrap().id.to_string());
    }
    deployment.add_worker();
    eventually("they are dead", async || {
        let all = queues.queues().await.unwrap();
        all.iter().any(|it| it.dead == 3)
    })
    .await;

    let table = done(&deployment, &["jobs", "list", "--state", "dead"]);
    let lines: Vec<_> = table.lines().collect();
    assert!(
        lines.len() == 4 && lines[0].starts_with("JOB") && lines[0].contains("LAST ERROR"),
        "{table}"
    );
    assert!(
        table.contains("usr_1") && table.contains("the payload does not fit"),
        "{table}"
    );
    let one = done(&deployment, &["jobs", "list", "--user", "usr_1", "--json"]);
    assert_eq!(read(&one)["id"], ids[1]);
    let shown = done(&deployment, &["jobs", "show", &ids[0]]);
    assert!(shown.contains("attempt 1 failed at"), "{shown}");
    for arguments in [
        vec!["jobs", "show", &ids[0], "--json"],
        vec!["jobs", &ids[0]],
    ] {
        assert_eq!(read(&done(&deployment, &arguments))["state"], "dead");
    }

    // Nobody is there to be asked.
    let (well, said) = sluice(&deployment, &["jobs", "retry", "--state", "dead"]);
    assert!(
        !well && said.contains("retry 3 jobs") && said.contains("--yes"),
        "{said}"
    );
    let all = done(
        &deployment,
        &[
            "jobs", "retry", "--state", "dead", "--queue", "sync", "--yes", "--json",
        ],
    );
    assert_eq!(read(&all)["count"], 3);
    let (well, said) = sluice(&deployment, &["jobs", "watch", &ids[0]]);
    assert!(!well && said.contains("failed for good"), "{said}");
    let (well, said) = sluice(&deployment, &["jobs", "cancel", &ids[0]]);
    assert!(!well && said.contains("already over"), "{said}");
    let deleted = done(&deployment, &["jobs", "delete", &ids[0], &ids[1]]);
    assert!(deleted.contains("done to 2 jobs"), "{deleted}");
    let (well, said) = sluice(&deployment, &["jobs", "retry"]);
    assert!(!well && said.contains("no jobs are named"), "{said}");
    let (well, said) = sluice(&deployment, &["jobs", "list", "--state", "odd"]);
    assert!(!well && said.contains("must be one of"), "{said}");
}

#[tokio::test]
async fn queues_schedules_and_workers_are_steered_from_a_terminal() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let further = "[nightly]\ncron = \"0 30 2 * * *\"\nzone = \"Europe/Berlin\"\nqueue = \"sync\"\n\
                   payload = { user = \"ann\", type = \"allOne\" }\nmissed = \"skip\"\n";
    fs::write(file.path(), further).unwrap();
    let schedules = file.path().to_str().unwrap();
    let mut deployment = Deployment::start_with(&[("SLUICE_SCHEDULES", schedules)]).await;
    let listed = async |command: &'static str, text: &'static str| {
        eventually(&format!("{command} shows {text}"), async || {
            done(&deployment, &[command]).contains(text)
        })
        .await;
    };
    listed("schedules", "nightly").await;
    listed("workers", "works").await;
    listed("queues", "sync").await;

    done(&deployment, &["queues", "pause", "sync"]);
    assert!(done(&deployment, &["queues"]).contains("paused for"));
    done(&deployment, &["queues", "resume", "sync"]);
    let all = read(&done(&deployment, &["queues", "--json"]));
    let sync = all
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "sync");
    assert!(sync.unwrap()["paused_at"].is_null());

    let all = read(&done(&deployment, &["schedules", "--json"]));
    let nightly = all
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "nightly")
        .unwrap();
    assert_eq!(
        (&nightly["zone"], &nightly["origin"], &nightly["missed"]),
        (&json!("Europe/Berlin"), &json!("config"), &json!("skip"))
    );
    done(
        &deployment,
        &[
            "schedules",
            "set",
            "often",
            "--cron",
            "* * * * * *",
            "--queue",
            "purge",
        ],
    );
    eventually("it ticks", async || {
        let all = read(&done(&deployment, &["schedules", "--json"]));
        let often = all
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["name"] == "often")
            .cloned();
        often.unwrap()["last_job"].is_string()
    })
    .await;
    done(&deployment, &["schedules", "delete", "often"]);
    let (well, said) = sluice(&deployment, &["schedules", "delete", "nightly"]);
    assert!(
        !well && said.contains("comes from the configuration"),
        "{said}"
    );
    let job = done(&deployment, &["schedules", "run", "purge"]);
    assert_eq!(
        deployment.client.finished(job.trim()).await["state"],
        "completed"
    );

    // A quiet worker takes nothing; one that is to stop ends as on SIGTERM.
    let all = read(&done(&deployment, &["workers", "--json"]));
    let id = all[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(all[0]["pid"], deployment.workers[0].pid());
    done(&deployment, &["workers", "quiet", &id]);
    listed("workers", "quiet").await;
    done(&deployment, &["workers", "resume", &id]);
    listed("workers", "works").await;
    done(&deployment, &["workers", "stop", &id]);
    let mut worker = deployment.workers.remove(0);
    worker.wait();
    assert_eq!(read(&done(&deployment, &["workers", "--json"])), json!([]));
}

#[test]
fn a_file_of_schedules_with_a_mistake_stops_the_start_and_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (text, rule) in [
        (
            "[Bad]\ncron = \"0 0 0 * * *\"\nqueue = \"purge\"\n",
            "name:",
        ),
        ("[a]\ncron = \"daily\"\nqueue = \"purge\"\n", "cron:"),
        (
            "[a]\ncron = \"0 0 0 * * *\"\nqueue = \"purge\"\ncolour = 1\n",
            "colour",
        ),
        (
            "[a]\ncron = \"0 0 0 * * *\"\nqueue = \"sync\"\n",
            "payload:",
        ),
    ] {
        fs::write(file.path(), text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .arg("work")
            .env("SLUICE_SCHEDULES", file.path())
            .env("SLUICE_VALKEY_URL", "redis://127.0.0.1:1")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains(rule),
            "{text}: {said}"
        );
    }
}
