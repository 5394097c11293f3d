//! What operators see and do by API.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use sluice_api::auth::Scope;
use sluice_queue::{JobError, NewJob, Process, State};

use crate::app::{Answer, App, LONG, get, post, token};

async fn ask(app: &App, method: Method, path: &str, body: Option<&Value>, scope: Scope) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {}", token(&[scope])))
        .header("content-type", "application/json");
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    app.send(request.body(body).unwrap()).await
}

async fn look(app: &App, path: &str) -> Value {
    let answer = app.send(get(path, &token(&[Scope::AdminRead]))).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

async fn act(app: &App, method: Method, path: &str, body: Option<&Value>) -> Value {
    let answer = ask(app, method, path, body, Scope::Admin).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

async fn enqueue(app: &App, user: &str) -> String {
    let request = post("sync", &json!({"user": user, "type": "allOne"}));
    let answer = app
        .send(request.header("prefer", "respond-async").build())
        .await;
    answer.json()["job"].as_str().unwrap().to_owned()
}

/// Jobs of the queue `q` that are dead, of `ann` and `bob` by turns.
async fn dead_jobs(app: &App, count: usize) -> Vec<String> {
    app.work("q", async |running| {
        Err(JobError::Fatal(format!(
            "out of luck, {}",
            running.user().unwrap()
        )))
    });
    let mut ids = Vec::new();
    for n in 0..count {
        let job = NewJob {
            user: Some(["ann", "bob"][n % 2].to_owned()),
            ..NewJob::new("q", &n).unwrap()
        };
        ids.push(app.queues.enqueue(job).await.unwrap().id);
    }
    for id in &ids {
        app.queues.wait(id, LONG).await.unwrap().unwrap();
    }
    ids.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn who_may_look_may_not_act_and_nobody_else_may_look() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let job = enqueue(&app, "u").await;
    let looks = [
        "queues",
        "queues/sync",
        "queues/sync/history",
        "jobs",
        "jobs/count",
        "workers",
        "schedules",
        "audit",
    ];
    for path in looks {
        let path = format!("/api/v1/{path}");
        for (scope, status) in [
            (Scope::AdminRead, 200),
            (Scope::Admin, 200),
            (Scope::MetaRead, 403),
        ] {
            let answer = app.send(get(&path, &token(&[scope]))).await;
            assert_eq!(answer.status.as_u16(), status, "{path}");
        }
    }
    let acts = [
        (Method::POST, "queues/sync/pause".to_owned(), None),
        (
            Method::PUT,
            "queues/sync/limits".to_owned(),
            Some(json!({})),
        ),
        (Method::PUT, "queues/sync/rates".to_owned(), Some(json!({}))),
        (Method::POST, format!("jobs/{job}/cancel"), None),
        (
            Method::POST,
            "jobs/actions".to_owned(),
            Some(json!({"operation": "delete", "filter": {}})),
        ),
        (Method::POST, "workers/w/stop".to_owned(), None),
        (
            Method::PUT,
            "schedules/s".to_owned(),
            Some(json!({"cron": "0 0 0 * * *", "queue": "purge"})),
        ),
        (Method::DELETE, "schedules/s".to_owned(), None),
        (Method::POST, "schedules/s/run".to_owned(), None),
        (Method::POST, "schedules/s/pause".to_owned(), None),
        (
            Method::POST,
            "audit/01jd3v3s2n3wq5s9m1x6r0e8kz/undo".to_owned(),
            None,
        ),
    ];
    for (method, path, body) in acts {
        let path = format!("/api/v1/{path}");
        let answer = ask(&app, method, &path, body.as_ref(), Scope::AdminRead).await;
        assert_eq!(answer.error(), (403, "forbidden".to_owned()), "{path}");
    }
    assert_eq!(look(&app, "/api/v1/audit").await["actions"], json!([]));
}

#[tokio::test]
async fn queues_are_shown_steered_and_written_down() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    enqueue(&app, "u").await;
    let pause = act(&app, Method::POST, "/api/v1/queues/sync/pause", None).await;
    act(
        &app,
        Method::PUT,
        "/api/v1/queues/sync/limits",
        Some(&json!({"all": 5, "per_user": 2})),
    )
    .await;
    let rate = json!({"kind": "bucket", "starts": 10, "per_ms": 1000, "burst": 3});
    act(
        &app,
        Method::PUT,
        "/api/v1/queues/sync/rates",
        Some(&json!({"all": rate})),
    )
    .await;
    let queue = look(&app, "/api/v1/queues/sync").await;
    assert_eq!(
        (&queue["limit"], &queue["user_limit"], &queue["rate"]),
        (&json!(5), &json!(2), &rate)
    );
    assert!(queue["paused_at"].is_u64() && queue["oldest_waiting_ms"].is_u64());
    assert_eq!(look(&app, "/api/v1/queues").await[0]["limit"], 5);

    let undo = format!("/api/v1/audit/{}/undo", pause["action"].as_str().unwrap());
    act(&app, Method::POST, &undo, None).await;
    assert!(look(&app, "/api/v1/queues/sync").await["paused_at"].is_null());
    let again = ask(&app, Method::POST, &undo, None, Scope::Admin).await;
    assert_eq!(again.error(), (409, "not_possible".to_owned()));

    let audit = look(&app, "/api/v1/audit").await;
    let actions: Vec<_> = audit["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["what"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["undo", "set rates", "set limits", "pause"]);
    let first = &audit["actions"][3];
    assert_eq!(
        (&first["who"], &first["via"], &first["count"]),
        (&json!("service"), &json!("api"), &json!(1))
    );
    assert_eq!(first["target"], "queue sync");
    assert!(first["undone_by"].is_string() && first["ended_at"].is_u64());
    let page = look(&app, "/api/v1/audit?limit=1").await;
    let rest = look(
        &app,
        &format!(
            "/api/v1/audit?limit=10&cursor={}",
            page["next"].as_str().unwrap()
        ),
    )
    .await;
    assert_eq!(
        (rest["actions"].as_array().unwrap().len(), &rest["next"]),
        (3, &Value::Null)
    );
}

#[tokio::test]
async fn what_is_wrong_with_an_action_is_said_and_not_written_down() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    enqueue(&app, "u").await;
    let bad = |path: &str, body: Value| (path.to_owned(), body);
    let puts = [
        bad("queues/sync/limits", json!({"all": 0})),
        bad("queues/sync/limits", json!({"most": 1})),
        bad(
            "queues/sync/rates",
            json!({"all": {"kind": "fast", "starts": 1, "per_ms": 1}}),
        ),
        bad("schedules/s", json!({"cron": "never", "queue": "purge"})),
        bad(
            "schedules/s",
            json!({"cron": "0 0 0 * * *", "queue": "elsewhere"}),
        ),
        bad(
            "schedules/Bad",
            json!({"cron": "0 0 0 * * *", "queue": "purge"}),
        ),
    ];
    for (path, body) in puts {
        let answer = ask(
            &app,
            Method::PUT,
            &format!("/api/v1/{path}"),
            Some(&body),
            Scope::Admin,
        )
        .await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request".to_owned()),
            "{path} {body}"
        );
    }
    for body in [
        json!({"operation": "retry"}),
        json!({"operation": "eat", "filter": {}}),
        json!({"operation": "retry", "ids": ["x"]}),
    ] {
        let answer = ask(
            &app,
            Method::POST,
            "/api/v1/jobs/actions",
            Some(&body),
            Scope::Admin,
        )
        .await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request".to_owned()),
            "{body}"
        );
    }
    for path in [
        "queues/none/pause",
        "queues/sync/eat",
        "workers/none/stop",
        "schedules/none/run",
        "schedules/none/pause",
    ] {
        let answer = ask(
            &app,
            Method::POST,
            &format!("/api/v1/{path}"),
            None,
            Scope::Admin,
        )
        .await;
        assert_eq!(answer.status, 404, "{path}");
    }
    for path in [
        "jobs?state=odd",
        "jobs?cursor=x",
        "jobs?limit=0",
        "jobs?colour=red",
        "queues/sync/history?period=week",
    ] {
        let answer = app
            .send(get(&format!("/api/v1/{path}"), &token(&[Scope::Admin])))
            .await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request".to_owned()),
            "{path}"
        );
    }
    let audit = look(&app, "/api/v1/audit").await;
    let actions = audit["actions"].as_array().unwrap();
    assert!(actions.iter().all(|it| it["error"].is_string()), "{audit}");
}

#[tokio::test]
async fn jobs_are_searched_counted_and_acted_on_with_undo() {
    let app = App::start().await;
    app.leaves_jobs(State::Dead);
    let ids = dead_jobs(&app, 12).await;
    let page = look(&app, "/api/v1/jobs?state=dead&user=ann&limit=4").await;
    assert_eq!(page["jobs"].as_array().unwrap().len(), 4);
    assert_eq!(page["jobs"][0]["last_error"], "out of luck, ann");
    let next = page["next"].as_str().unwrap();
    let rest = look(
        &app,
        &format!("/api/v1/jobs?state=dead&user=ann&limit=4&cursor={next}"),
    )
    .await;
    assert_eq!(rest["jobs"].as_array().unwrap().len(), 2);
    let count = async |filter: &str| {
        look(&app, &format!("/api/v1/jobs/count?{filter}")).await["jobs"].clone()
    };
    assert_eq!(count("queue=q&state=dead").await, 12);
    assert_eq!(count("text=LUCK,%20bob").await, 6);
    assert_eq!(count(&format!("text={}", ids[3])).await, 1);

    let filter = json!({"operation": "delete", "filter": {"state": "dead", "user": "bob"}});
    let deleted = act(&app, Method::POST, "/api/v1/jobs/actions", Some(&filter)).await;
    assert_eq!(deleted["count"], 6);
    assert_eq!(count("state=dead").await, 6);
    let undo = format!("/api/v1/audit/{}/undo", deleted["action"].as_str().unwrap());
    assert_eq!(act(&app, Method::POST, &undo, None).await["count"], 6);
    assert_eq!(count("state=dead").await, 12);
    let audit = look(&app, "/api/v1/audit").await;
    assert_eq!(
        audit["actions"][1]["target"],
        "all dead jobs of the user bob"
    );

    let selected =
        json!({"operation": "delete", "ids": [ids[0], ids[1], "q_01h2xcejqtf2nbrexx3vqjhp41"]});
    let deleted = act(&app, Method::POST, "/api/v1/jobs/actions", Some(&selected)).await;
    assert_eq!(deleted["count"], 2);
    let retried = act(
        &app,
        Method::POST,
        &format!("/api/v1/jobs/{}/retry", ids[2]),
        None,
    )
    .await;
    assert_eq!(retried["count"], 1);
    app.queues
        .wait(&ids[2].parse().unwrap(), LONG)
        .await
        .unwrap()
        .unwrap();
    let cancel = ask(
        &app,
        Method::POST,
        &format!("/api/v1/jobs/{}/cancel", ids[2]),
        None,
        Scope::Admin,
    )
    .await;
    assert_eq!(cancel.error(), (409, "not_possible".to_owned()));
    assert!(cancel.text().contains("already over"));
}

#[tokio::test]
async fn what_a_queue_did_of_late_is_told_by_slices() {
    let app = App::start().await;
    app.leaves_jobs(State::Dead);
    dead_jobs(&app, 5).await;
    for (period, slices) in [("hour", 60), ("day", 144)] {
        let history = look(&app, &format!("/api/v1/queues/q/history?period={period}")).await;
        let all = history["slices"].as_array().unwrap();
        assert_eq!((all.len(), &history["period"]), (slices, &json!(period)));
        let sum: u64 = all.iter().map(|it| it["dead"].as_u64().unwrap()).sum();
        assert_eq!(sum, 5);
        assert!(all.iter().any(|it| it["run"]["p95_ms"].is_u64()));
    }
    let none = app
        .send(get("/api/v1/queues/none/history", &token(&[Scope::Admin])))
        .await;
    assert_eq!(none.status, 404);
}

#[tokio::test]
async fn workers_are_shown_and_hear_signals() {
    let app = App::start().await;
    let process = Process {
        id: "host-7-x".to_owned(),
        host: "host".to_owned(),
        pid: 7,
        version: "1".to_owned(),
    };
    let shown = {
        let queues = app.queues.clone();
        tokio::spawn(async move { queues.show_process(&process).await })
    };
    let seen = async |is: &dyn Fn(&Value) -> bool| {
        let begun = std::time::Instant::now();
        while !is(&look(&app, "/api/v1/workers").await[0]) {
            assert!(begun.elapsed() < LONG);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    seen(&|it| it["pid"] == 7 && it["quiet"] == false).await;
    act(&app, Method::POST, "/api/v1/workers/host-7-x/quiet", None).await;
    seen(&|it| it["quiet"] == true && it["signal"] == "quiet").await;
    act(&app, Method::POST, "/api/v1/workers/host-7-x/stop", None).await;
    shown.await.unwrap();
}

#[tokio::test]
async fn schedules_are_added_run_paused_and_removed() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let schedule = json!({
        "cron": "0 30 2 * * *", "zone": "Europe/Berlin", "queue": "sync", "jitter_secs": 30,
        "payload": {"user": "ann", "type": "allOne"}, "missed": "skip",
    });
    act(
        &app,
        Method::PUT,
        "/api/v1/schedules/nightly",
        Some(&schedule),
    )
    .await;
    let shown = look(&app, "/api/v1/schedules").await[0].clone();
    assert_eq!(
        (&shown["name"], &shown["origin"], &shown["zone"]),
        (
            &json!("nightly"),
            &json!("operator"),
            &json!("Europe/Berlin")
        )
    );
    assert!(shown["next"].is_u64() && shown["last"].is_null());
    let run = act(&app, Method::POST, "/api/v1/schedules/nightly/run", None).await;
    let job = look(
        &app,
        &format!("/api/v1/jobs/{}", run["job"].as_str().unwrap()),
    )
    .await;
    assert_eq!(job["payload"], schedule["payload"]);
    act(&app, Method::POST, "/api/v1/schedules/nightly/pause", None).await;
    let shown = look(&app, "/api/v1/schedules").await[0].clone();
    assert!(shown["paused_at"].is_u64() && shown["next"].is_null());
    act(&app, Method::DELETE, "/api/v1/schedules/nightly", None).await;
    assert_eq!(look(&app, "/api/v1/schedules").await, json!([]));
    // What it enqueued is its own.
    let found = look(&app, "/api/v1/jobs/count?queue=sync").await;
    assert_eq!(found, json!({"jobs": 1, "at_least": false}));
}
