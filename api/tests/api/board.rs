use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use futures_util::StreamExt as _;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use sluice_api::auth::Scope;
use sluice_queue::{Finished, JobError, JobId, LogLevel, NewBatch, NewJob, Rate, Running, State};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::app::{Answer, App, LONG, SECRET, get, post, raw, token};

const ORIGIN: &str = "http://board.test";

/// A request as a browser sends it from a page of the board, with this cookie.
fn browse_with(cookie: &str, method: Method, path: &str, body: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "board.test")
        .header("origin", ORIGIN)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("cookie", cookie)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// The same of an operator who has just logged in.
async fn browse(app: &App, method: Method, path: &str, body: &str) -> Request<Body> {
    let cookie = session(app, &token(&[Scope::Admin])).await;
    browse_with(&cookie, method, path, body)
}

async fn page(app: &App, path: &str) -> Answer {
    app.send(browse(app, Method::GET, path, "").await).await
}

async fn page_with(app: &App, cookie: &str, path: &str) -> Answer {
    app.send(browse_with(cookie, Method::GET, path, "")).await
}

async fn press(app: &App, path: &str) -> Answer {
    submit(app, path, "").await
}

async fn submit(app: &App, path: &str, form: &str) -> Answer {
    app.send(browse(app, Method::POST, path, form).await).await
}

async fn log_in(app: &App, token: &str) -> Answer {
    let form = format!("token={token}");
    app.send(browse_with("", Method::POST, "/board/login", &form))
        .await
}

/// The cookie of an operator who logs in with `token`.
async fn session(app: &App, token: &str) -> String {
    let answer = log_in(app, token).await;
    let cookie = answer.header("set-cookie").split(';').next().unwrap();
    assert!(cookie.starts_with("sluice_board="), "{}", answer.text());
    cookie.to_owned()
}

/// A token of the scope admin that expires so many seconds from now, with further claims.
fn admin_token(seconds: u64, further: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut claims = json!({"sub": "ops", "scope": "admin", "exp": now.as_secs() + seconds});
    let claims_map = claims.as_object_mut().unwrap();
    claims_map.extend(further.as_object().unwrap().clone());
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::default(), &claims, &key).unwrap()
}

/// Enqueues a sync for `user` and gives the job's id.
async fn enqueue(app: &App, user: &str) -> String {
    let request =
        post("sync", &json!({"user": user, "type": "allOne"})).header("prefer", "respond-async");
    app.send(request.build()).await.json()["job"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn without_a_session_every_page_leads_to_the_login() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let job = enqueue(&app, "u").await;
    let paths = [
        "/board",
        "/board/queues/sync?period=day",
        "/board/jobs?state=dead",
        "/board/workers",
        "/board/schedules",
        "/board/audit",
        &format!("/board/jobs/{job}"),
        &format!("/board/jobs/{job}/retry"),
        &format!("/board/jobs/{job}/live"),
    ];
    for path in paths {
        for cookie in [
            "",
            "sluice_board=x",
            &format!("sluice_board={}", token(&[Scope::Admin])),
        ] {
            let answer = page_with(&app, cookie, path).await;
            let reason = if cookie.is_empty() {
                ""
            } else {
                "&reason=ended"
            };
            let next = path
                .replace('/', "%2F")
                .replace('?', "%3F")
                .replace('=', "%3D");
            assert_eq!(
                (answer.status.as_u16(), answer.header("location")),
                (303, &*format!("/board/login?next={next}{reason}")),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn logging_in_keeps_a_session_and_not_the_token() {
    let app = App::start().await;
    let answer = log_in(&app, &admin_token(600, json!({}))).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, "/board")
    );
    let cookie = answer.header("set-cookie");
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(pair.len(), "sluice_board=".len() + 64, "{cookie}");
    let (max_age, rest) = attributes
        .strip_prefix("Path=/board; Max-Age=")
        .and_then(|rest| rest.split_once("; "))
        .unwrap();
    assert!((590..=600).contains(&max_age.parse().unwrap()), "{cookie}");
    assert_eq!(rest, "HttpOnly; SameSite=Strict");
    assert_eq!(page_with(&app, pair, "/board").await.status, 200);

    let week = admin_token(7 * 24 * 3600, json!({}));
    let answer = log_in(&app, &week).await;
    assert!(answer.header("set-cookie").contains("Max-Age=86400;"));
}

#[tokio::test]
async fn a_token_of_many_groups_logs_in() {
    let app = App::start().await;
    for number in [90, 10_000] {
        let groups: Vec<String> = (0..number)
            .map(|group| format!("cn=team-{group:05},ou=groups"))
            .collect();
        let token = admin_token(600, json!({"groups": groups}));
        assert_eq!(app.send(get("/metrics", &token)).await.status, 200);
        let cookie = session(&app, &token).await;
        assert_eq!(page_with(&app, &cookie, "/board").await.status, 200);
    }
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let app = App::start().await;
    let cookie = session(&app, &admin_token(2, json!({}))).await;
    assert_eq!(page_with(&app, &cookie, "/board").await.status, 200);
    while page_with(&app, &cookie, "/board").await.status == 200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = page_with(&app, &cookie, "/board").await;
    let login = answer.header("location");
    assert_eq!(login, "/board/login?next=%2Fboard&reason=ended");
    // The API bears with clocks that differ; a session that is over at once helps nobody.
    let expired = log_in(&app, &admin_token(0, json!({}))).await;
    assert_eq!(expired.status, 401);
    assert!(expired.text().contains("the token has expired"));
}

#[tokio::test]
async fn a_token_that_does_not_do_is_not_kept_nor_shown() {
    let app = App::start().await;
    for (token, status) in [
        (token(&[Scope::MetaWrite]), 403),
        ("rubbish".to_owned(), 401),
    ] {
        let answer = log_in(&app, &token).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.header("set-cookie"), "");
        assert!(answer.text().contains("role=\"alert\"") && !answer.text().contains(&token));
    }
}

#[tokio::test]
async fn logging_in_leads_back_to_the_page_that_was_asked_for_and_nowhere_else() {
    let app = App::start().await;
    for (next, leads_to) in [
        (
            "/board/queues/sync?state=dead&page=2",
            "/board/queues/sync?state=dead&page=2",
        ),
        ("https://elsewhere.example/board", "/board"),
        ("//elsewhere.example", "/board"),
        ("/boardwalk", "/board"),
        ("/board\\elsewhere", "/board"),
        ("/docs", "/board"),
    ] {
        let next = next
            .replace('/', "%2F")
            .replace('?', "%3F")
            .replace('&', "%26");
        let body = format!("token={}&next={next}", token(&[Scope::Admin]));
        let login = browse_with("", Method::POST, "/board/login", &body);
        let answer = app.send(login).await;
        assert_eq!(answer.header("location"), leads_to);
    }
    let login = page(
        &app,
        "/board/login?next=%2Fboard%2Fqueues%2Fsync&reason=ended",
    )
    .await;
    assert!(login.text().contains("Your session has ended"));
    assert!(login.text().contains("value=\"/board/queues/sync\""));
}

#[tokio::test]
async fn logging_out_ends_the_session_wherever_its_cookie_is() {
    let app = App::start().await;
    let [cookie, other] = [
        session(&app, &token(&[Scope::Admin])).await,
        session(&app, &token(&[Scope::Admin])).await,
    ];
    let logout = browse_with(&cookie, Method::POST, "/board/logout", "");
    let answer = app.send(logout).await;
    assert!(
        answer
            .header("set-cookie")
            .starts_with("sluice_board=; Path=/board; Max-Age=0;")
    );
    assert_eq!(answer.header("location"), "/board/login");
    assert_eq!(page_with(&app, &cookie, "/board").await.status, 303);
    assert_eq!(page_with(&app, &other, "/board").await.status, 200);
}

#[tokio::test]
async fn logging_in_anew_ends_the_session_before_it() {
    let app = App::start().await;
    let cookie = session(&app, &token(&[Scope::Admin])).await;
    let form = format!("token={}", token(&[Scope::Admin]));
    let again = browse_with(&cookie, Method::POST, "/board/login", &form);
    assert_eq!(app.send(again).await.status, 303);
    assert_eq!(page_with(&app, &cookie, "/board").await.status, 303);
}

#[tokio::test]
async fn pages_forbid_scripts_and_frames_from_elsewhere() {
    let app = App::start().await;
    for path in ["/board", "/board/login", "/board/queues/none"] {
        let answer = page(&app, path).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("script-src 'self'"),
            "{path}"
        );
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn the_overview_counts_jobs_by_queue_and_state() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    assert!(
        page(&app, "/board")
            .await
            .text()
            .contains("No job has been enqueued yet")
    );
    for user in ["a", "b", "c"] {
        enqueue(&app, user).await;
    }
    let text = page(&app, "/board").await.text();
    assert!(
        text.contains("href=\"/board/jobs?queue=sync&amp;state=available\">3</a>"),
        "{text}"
    );
}

#[tokio::test]
async fn jobs_of_a_state_are_listed_in_pages() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(enqueue(&app, &format!("u{number}")).await);
    }
    let first = page(&app, "/board/jobs?queue=sync&state=available")
        .await
        .text();
    let next = first.split("rel=\"next\" href=\"").nth(1).unwrap();
    let next = next.split('"').next().unwrap().replace("&amp;", "&");
    let second = page(&app, &next).await.text();
    let on = |text: &str| {
        ids.iter()
            .filter(|id| text.contains(&format!("/board/jobs/{id}")))
            .count()
    };
    assert_eq!((on(&first), on(&second)), (25, 5));
    assert!(!first.contains("rel=\"first\""));
    assert!(second.contains("rel=\"first\"") && !second.contains("rel=\"next\""));
    assert_eq!(page(&app, "/board/queues/none").await.status, 404);
    assert_eq!(page(&app, "/board/jobs?state=odd").await.status, 404);
}

#[tokio::test]
async fn what_users_wrote_is_escaped() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let job = enqueue(&app, "<script>alert(1)</script>\"'&").await;
    for path in ["/board/jobs", &format!("/board/jobs/{job}")] {
        let text = page(&app, path).await.text();
        assert!(
            text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
            "{path}"
        );
        assert!(!text.contains("<script>alert"), "{path}");
    }
}

#[tokio::test]
async fn a_job_shows_its_failed_attempts_and_can_be_retried() {
    let app = App::start().await;
    app.work("sync", async |running| match running.attempt() {
        1 => Err(JobError::Fatal("the first attempt went wrong".to_owned())),
        _ => Err(JobError::Fatal("and so did the next".to_owned())),
    });
    let answer = app
        .post("sync", &json!({"user": "u", "type": "allOne"}))
        .await;
    let job = answer.json()["job"].as_str().unwrap().to_owned();
    let path = format!("/board/jobs/{job}");
    let text = page(&app, &path).await.text();
    assert!(
        text.contains("the first attempt went wrong") && text.contains(">Retry</a>"),
        "{text}"
    );
    assert!(!text.contains(">Cancel</a>"));

    let retried = press(&app, &format!("{path}/retry")).await;
    assert_eq!(retried.status, 303);
    assert!(
        retried
            .header("location")
            .starts_with(&format!("{path}?done="))
    );
    let text = page(&app, retried.header("location")).await.text();
    assert!(text.contains("1 job was put back in line"), "{text}");
    let end = app
        .queues
        .wait(&JobId::parse(&job).unwrap(), LONG)
        .await
        .unwrap();
    assert!(matches!(end, Some(Finished::Dead { .. })), "{end:?}");
}

#[tokio::test]
async fn a_waiting_job_can_be_cancelled_once() {
    let app = App::start().await;
    let path = format!("/board/jobs/{}", enqueue(&app, "u").await);
    assert!(page(&app, &path).await.text().contains(">Cancel</a>"));
    let question = page(&app, &format!("{path}/cancel")).await.text();
    assert!(question.contains("Cancel this job?") && question.contains("id=\"confirm\""));
    assert_eq!(press(&app, &format!("{path}/cancel")).await.status, 303);
    let again = press(&app, &format!("{path}/cancel")).await;
    assert_eq!(again.status, 409);
    assert!(again.text().contains("nothing to cancel"));
}

#[tokio::test]
async fn actions_from_other_sites_do_nothing() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let job = enqueue(&app, "u").await;
    for origin in [
        "http://elsewhere.test",
        "null",
        "https://board.test.evil.example",
    ] {
        let cancel = format!("/board/jobs/{job}/cancel");
        let mut request = browse(&app, Method::POST, &cancel, "").await;
        request
            .headers_mut()
            .insert("origin", origin.parse().unwrap());
        assert_eq!(app.send(request).await.status, 403, "{origin}");
        for action in [
            "queues/sync/pause",
            "queues/sync/resume",
            "queues/sync/limits",
            "queues/sync/rates",
            "jobs/act",
            "workers/w/stop",
            "schedules",
            "schedules/s/run",
            "audit/a/undo",
        ] {
            let action = format!("/board/{action}");
            let mut request = browse(&app, Method::POST, &action, "").await;
            request
                .headers_mut()
                .insert("origin", origin.parse().unwrap());
            assert_eq!(app.send(request).await.status, 403, "{origin} {action}");
        }
    }
    let job = app
        .queues
        .get(&JobId::parse(&job).unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(!job.state.is_final());
}

#[tokio::test]
async fn a_job_is_streamed_as_fragments_of_its_page_until_it_is_over() {
    let app = App::start().await;
    let job = enqueue(&app, "u").await;
    let id = JobId::parse(&job).unwrap();
    let cancel = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        app.queues.cancel(&id).await.unwrap();
    };
    let live = format!("/board/jobs/{job}/live");
    let (stream, ()) = tokio::join!(page(&app, &live), cancel);
    let text = stream.text();
    assert!(
        text.contains("available") && text.contains("cancelled"),
        "{text}"
    );
    assert!(text.ends_with("event: end\ndata: over\n\n"), "{text}");
}

/// The first fragment of a stream, and the rest, which is read in a task of its own.
async fn watch(app: &App, cookie: &str, path: &str) -> (String, JoinHandle<String>) {
    let request = browse_with(cookie, Method::GET, path, "");
    let response = app.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut chunks = response.into_body().into_data_stream();
    let text = |chunk: Bytes| String::from_utf8_lossy(&chunk).into_owned();
    let first = text(chunks.next().await.unwrap().unwrap());
    let rest = chunks.map(move |chunk| text(chunk.unwrap())).collect();
    (first, tokio::spawn(rest))
}

#[tokio::test]
async fn a_live_page_ends_with_the_session_and_no_other() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let live = format!("/board/jobs/{}/live", enqueue(&app, "u").await);
    let brief = session(&app, &admin_token(2, json!({}))).await;
    let closed = session(&app, &admin_token(600, json!({}))).await;
    let stays = session(&app, &admin_token(600, json!({}))).await;
    let mut streams = Vec::new();
    for cookie in [&brief, &closed, &stays] {
        let (first, rest) = watch(&app, cookie, &live).await;
        assert!(first.contains("available"), "{first}");
        streams.push(rest);
    }
    let logout = browse_with(&closed, Method::POST, "/board/logout", "");
    assert_eq!(app.send(logout).await.status, 303);
    for ended in streams.drain(..2) {
        let rest = timeout(LONG, ended).await.expect("goes on").unwrap();
        assert!(!rest.contains("event: end"), "{rest}");
    }
    assert!(!streams[0].is_finished());
    app.shutdown.cancel();
    timeout(LONG, streams.remove(0)).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_script_and_the_style_are_served_from_the_binary() {
    let app = App::start().await;
    for (path, kind) in [
        ("/board/board.js", "text/javascript"),
        ("/board/style.css", "text/css"),
    ] {
        let answer = app
            .send(Request::get(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").starts_with(kind));
    }
}

#[tokio::test]
async fn a_queue_is_paused_and_resumed() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    enqueue(&app, "u").await;
    let path = "/board/queues/sync";
    let question = page(&app, &format!("{path}/pause")).await.text();
    assert!(question.contains("1 wait."), "{question}");
    assert!(app.queues.queues().await.unwrap()[0].paused_at.is_none());
    let paused = press(&app, &format!("{path}/pause")).await;
    assert_eq!(paused.status, 303);
    let text = page(&app, paused.header("location")).await.text();
    assert!(
        text.contains("Paused for") && text.contains("Undo</button>"),
        "{text}"
    );
    assert!(text.contains(">Resume</a>") && !text.contains(">Pause</a>"));
    assert!(page(&app, "/board").await.text().contains(">paused<"));
    assert!(app.queues.queues().await.unwrap()[0].paused_at.is_some());
    press(&app, &format!("{path}/resume")).await;
    let text = page(&app, path).await.text();
    assert!(text.contains(">Pause</a>") && !text.contains(">Resume</a>"));
    assert_eq!(press(&app, "/board/queues/none/pause").await.status, 404);
}

#[tokio::test]
async fn limits_and_rates_are_set_shown_and_lifted() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    enqueue(&app, "u").await;
    let path = "/board/queues/sync";
    let set = submit(&app, &format!("{path}/limits"), "all=50&per_user=+2").await;
    assert_eq!(set.status, 303);
    let rates = "all_kind=bucket&all_starts=100&all_seconds=1.5&all_burst=7\
                 &user_kind=sliding&user_starts=3&user_seconds=60&user_burst=";
    let set = submit(&app, &format!("{path}/rates"), rates).await;
    assert_eq!(set.status, 303);
    let stats = app.queues.queues().await.unwrap().remove(0);
    assert_eq!((stats.limit, stats.user_limit), (Some(50), Some(2)));
    let second = std::time::Duration::from_secs(1);
    assert_eq!(stats.rate, Some(Rate::token_bucket(100, second * 3 / 2, 7)));
    assert_eq!(stats.user_rate, Some(Rate::sliding_window(3, second * 60)));
    let text = page(&app, path).await.text();
    for shown in [
        "100 in 1.5s, 7 at once",
        "3 in 60s, sliding window",
        "<dd>50</dd>",
        "name=\"all_seconds\" value=\"1.5\"",
        "value=\"sliding\" selected",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }

    let none = "all_kind=none&all_starts=&all_seconds=&all_burst=\
                &user_kind=none&user_starts=&user_seconds=&user_burst=";
    submit(&app, &format!("{path}/rates"), none).await;
    submit(&app, &format!("{path}/limits"), "all=&per_user=").await;
    let stats = app.queues.queues().await.unwrap().remove(0);
    assert_eq!((stats.limit, stats.user_limit), (None, None));
    assert_eq!((stats.rate, stats.user_rate), (None, None));
}

#[tokio::test]
async fn a_form_with_a_mistake_is_answered_with_the_rule() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    enqueue(&app, "u").await;
    let rest = "&user_kind=none&user_starts=&user_seconds=&user_burst=";
    for (form, body, rule) in [
        (
            "limits",
            "all=0&per_user=".to_owned(),
            "all: must be a whole number from 1",
        ),
        (
            "limits",
            "all=1&per_user=x".to_owned(),
            "per_user: must be a whole number from 1",
        ),
        ("limits", "all=1".to_owned(), "per_user"),
        (
            "rates",
            format!("all_kind=fixed&all_starts=1&all_seconds=-1&all_burst={rest}"),
            "seconds: must be a number of seconds",
        ),
        (
            "rates",
            format!("all_kind=fixed&all_starts=1&all_seconds=0&all_burst={rest}"),
            "rate.per must be from 1 ms to 31 days",
        ),
    ] {
        let answer = submit(&app, &format!("/board/queues/sync/{form}"), &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().contains(rule), "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn many_jobs_are_asked_about_with_their_number_acted_on_and_brought_back() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(enqueue(&app, &format!("u{number}")).await);
    }
    let path = "/board/jobs/act";
    let filter = "scope=all&operation=cancel&queue=sync&state=available";
    let text = page(&app, &format!("{path}?{filter}&user=u3")).await.text();
    assert!(text.contains("Cancel 1 job?"), "{text}");
    let one = submit(&app, path, &format!("{filter}&user=u3")).await;
    let address = one.header("location");
    assert!(
        address.starts_with("/board/jobs?queue=sync&state=available&user=u3&done="),
        "{address}"
    );
    let text = page(&app, address).await.text();
    assert!(
        text.contains("1 job was cancelled, or asked to stop"),
        "{text}"
    );
    assert!(
        page(&app, &format!("{path}?{filter}"))
            .await
            .text()
            .contains("Cancel 4 jobs?")
    );
    submit(&app, path, filter).await;
    submit(
        &app,
        path,
        "scope=all&operation=retry&state=cancelled&user=u1",
    )
    .await;
    let counts = async || {
        let stats = app.queues.queues().await.unwrap().remove(0);
        (stats.available, stats.cancelled)
    };
    assert_eq!(counts().await, (1, 4));
    submit(
        &app,
        path,
        "scope=all&operation=delete&state=cancelled&error=disk",
    )
    .await;
    assert_eq!(counts().await, (1, 4));

    let selected = format!("operation=delete&id={}&id={}", ids[0], ids[2]);
    let text = page(&app, &format!("{path}?{selected}")).await.text();
    assert!(
        text.contains("Delete 2 jobs?") && text.contains(&ids[2]),
        "{text}"
    );
    let deleted = submit(&app, path, &selected).await;
    assert_eq!(counts().await, (1, 2));
    let action = deleted
        .header("location")
        .split("done=")
        .nth(1)
        .unwrap()
        .to_owned();
    let undone = press(&app, &format!("/board/audit/{action}/undo")).await;
    assert_eq!(undone.status, 303);
    assert_eq!(counts().await, (1, 4));
    let text = page(&app, "/board/audit").await.text();
    assert!(
        text.contains("2 selected jobs") && text.contains("all cancelled jobs of the user u1"),
        "{text}"
    );

    for (form, status) in [
        ("operation=explode", 404),
        ("operation=retry", 400),
        ("operation=retry&id=x", 404),
    ] {
        assert_eq!(
            submit(&app, path, form).await.status.as_u16(),
            status,
            "{form}"
        );
    }
}

#[tokio::test]
async fn who_may_only_look_sees_all_and_no_button() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let job = enqueue(&app, "u").await;
    let cookie = session(&app, &token(&[Scope::AdminRead])).await;
    let paths = [
        "/board",
        "/board/jobs",
        "/board/queues/sync",
        "/board/workers",
        "/board/schedules",
        "/board/audit",
    ];
    for path in paths
        .into_iter()
        .map(str::to_owned)
        .chain([format!("/board/jobs/{job}")])
    {
        let answer = page_with(&app, &cookie, &path).await;
        let text = answer.text();
        assert_eq!(answer.status, 200, "{path}");
        assert!(text.contains("read only"), "{path}");
        let forms = text.matches("method=\"post\"").count();
        assert_eq!(forms, 1, "{path} has more than the log-out");
        for label in [
            ">Retry<",
            ">Retry all<",
            ">Cancel<",
            ">Delete<",
            ">Pause<",
            ">Run now<",
            ">Stop<",
        ] {
            assert!(!text.contains(label), "{path} {label}");
        }
    }
    for path in [
        format!("/board/jobs/{job}/cancel"),
        "/board/queues/sync/pause".to_owned(),
        "/board/jobs/act?operation=delete&scope=all".to_owned(),
    ] {
        for method in [Method::GET, Method::POST] {
            let request = browse_with(&cookie, method.clone(), &path, "");
            assert_eq!(app.send(request).await.status, 403, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn schedules_are_added_run_and_deleted_on_the_board() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let form = "name=nightly&cron=0+30+2+*+*+*&zone=Europe%2FBerlin&queue=purge&payload=%7B%7D&jitter_secs=0&missed=once";
    assert_eq!(submit(&app, "/board/schedules", form).await.status, 303);
    let text = page(&app, "/board/schedules").await.text();
    for shown in [
        "nightly",
        "Europe/Berlin",
        "by an operator",
        "not yet",
        "in ",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let wrong = submit(
        &app,
        "/board/schedules",
        &form.replace("Berlin", "Atlantis"),
    )
    .await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text().contains("is not a time zone"),
        "{}",
        wrong.text()
    );
    let run = press(&app, "/board/schedules/nightly/run").await;
    assert!(run.header("location").starts_with("/board/jobs/purge_"));
    press(&app, "/board/schedules/nightly/pause").await;
    assert!(
        page(&app, "/board/schedules")
            .await
            .text()
            .contains(">paused<")
    );
    press(&app, "/board/schedules/nightly/delete").await;
    assert!(
        page(&app, "/board/schedules")
            .await
            .text()
            .contains("There are no schedules")
    );
    assert_eq!(
        press(&app, "/board/schedules/nightly/run").await.status,
        404
    );
}

#[tokio::test]
async fn one_job_is_deleted_unless_it_runs() {
    let app = App::start().await;
    let job = enqueue(&app, "u").await;
    let path = format!("/board/jobs/{job}");
    let deleted = press(&app, &format!("{path}/delete")).await;
    assert_eq!(deleted.status, 303);
    assert!(
        deleted
            .header("location")
            .starts_with("/board/jobs?queue=sync&done=")
    );
    assert_eq!(page(&app, &path).await.status, 404);

    app.work("sync", async |running: Running| {
        running.cancelled().cancelled().await;
        Err(JobError::Cancelled)
    });
    let job = enqueue(&app, "u").await;
    let id = JobId::parse(&job).unwrap();
    while app.queues.get(&id).await.unwrap().unwrap().state != State::Running {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let path = format!("/board/jobs/{job}");
    assert!(!page(&app, &path).await.text().contains(">Delete</a>"));
    let answer = press(&app, &format!("{path}/delete")).await;
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("cancel it first"));
    app.queues.cancel(&id).await.unwrap();
}

#[tokio::test]
async fn a_job_shows_its_log_its_batch_and_its_chain() {
    let app = App::start().await;
    let job = |payload: &str| NewJob::new("sync", &payload).unwrap();
    let new = NewBatch {
        on_end: Some(job("end")),
        on_success: None,
    };
    let batch = app.queues.open_batch(new).await.unwrap();
    let chain = ["first", "second"].map(|payload| NewJob {
        batch: Some(batch.clone()),
        ..job(payload)
    });
    let ids = app.queues.enqueue_chain(&chain).await.unwrap().jobs;
    app.queues.close_batch(&batch).await.unwrap();
    app.work("sync", async |running: Running| {
        running.log(LogLevel::Warn, "the <disk> is nearly full");
        Ok(raw(&json!("left behind")))
    });
    let long = std::time::Duration::from_secs(30);
    app.queues.wait(&ids[1], long).await.unwrap();
    let text = page(&app, &format!("/board/jobs/{}", ids[0])).await.text();
    let callback = app.queues.batch(&batch).await.unwrap().unwrap().on_end;
    for shown in [
        "the &lt;disk&gt; is nearly full",
        ">warn</td>",
        &format!("Batch <code>{batch}</code>"),
        &format!("/board/jobs/{}", callback.unwrap()),
        &format!("this job</li><li><a href=\"/board/jobs/{}\"", ids[1]),
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let text = page(&app, &format!("/board/jobs/{}", ids[1])).await.text();
    for shown in ["<h2>Chain</h2>", "<h2>Input</h2>", "left behind"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
}

/// Spoils what Valkey keeps of the queues, by keys below `sq1:`.
fn damage(app: &App, command: &[&str]) {
    let mut valkey = app.valkey.connection();
    let mut it = redis::cmd(command[0]);
    it.arg(format!("sq1:{}", command[1])).arg(&command[2..]);
    it.exec(&mut valkey).unwrap();
}

#[tokio::test]
async fn damaged_jobs_are_marked_among_the_others_and_can_be_deleted() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let [whole, field, key] = [
        enqueue(&app, "a").await,
        enqueue(&app, "b").await,
        enqueue(&app, "c").await,
    ];
    let hash = |id: &str| format!("{{sync}}:job:{}", id.split_once('_').unwrap().1);
    damage(&app, &["HSET", &hash(&field), "max_attempts", "abc"]);
    damage(&app, &["DEL", &hash(&key)]);
    damage(&app, &["SET", &hash(&key), "x"]);
    let list = "/board/jobs?queue=sync&state=available";
    let text = page(&app, list).await.text();
    for id in [&whole, &field, &key] {
        assert!(text.contains(&format!("/board/jobs/{id}")), "{text}");
    }
    for mark in [
        "damaged: its field max_attempts cannot be read",
        "damaged: its key does not hold a job",
    ] {
        assert!(text.contains(mark), "{mark}: {text}");
    }
    for id in [&field, &key] {
        let path = format!("/board/jobs/{id}");
        let text = page(&app, &path).await.text();
        assert!(text.contains("This job is damaged"), "{text}");
        assert!(text.contains(">Delete</a>"), "{text}");
        let deleted = press(&app, &format!("{path}/delete")).await;
        assert_eq!(deleted.status, 303, "{}", deleted.text());
    }
    let text = page(&app, list).await.text();
    assert!(text.contains(&whole) && !text.contains("damaged"), "{text}");
}

#[tokio::test]
async fn a_damaged_queue_is_marked_and_the_others_are_shown() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    enqueue(&app, "u").await;
    let other = NewJob::new("other", &()).unwrap();
    app.queues.enqueue(other).await.unwrap();
    for (set, state) in [("available", "available"), ("dead", "dead")] {
        damage(&app, &["DEL", &format!("{{other}}:{set}")]);
        damage(&app, &["SET", &format!("{{other}}:{set}"), "x"]);
        let text = page(&app, "/board").await.text();
        assert!(text.contains(">damaged</span>"), "{text}");
        let count = "href=\"/board/jobs?queue=sync&amp;state=available\">1</a>";
        assert!(text.contains(count), "{text}");
        for path in [
            "/board/queues/other",
            &format!("/board/jobs?queue=other&state={state}"),
        ] {
            let answer = page(&app, path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert!(answer.text().contains("WRONGTYPE"), "{}", answer.text());
        }
    }
    assert_eq!(page(&app, "/board/queues/sync").await.status, 200);
    assert!(
        page(&app, "/board/jobs")
            .await
            .text()
            .contains("/board/jobs/sync_")
    );
}

#[tokio::test]
async fn a_retry_that_another_job_with_the_unique_key_forbids_is_refused_in_words() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    app.work("sync", async |_| {
        Err(JobError::Fatal("the disk is full".to_owned()))
    });
    let dead = enqueue(&app, "u").await;
    let id = JobId::parse(&dead).unwrap();
    app.queues.wait(&id, LONG).await.unwrap().unwrap();
    app.queues.pause("sync").await.unwrap();
    let heir = enqueue(&app, "u").await;
    assert_ne!(dead, heir);

    let retried = press(&app, &format!("/board/jobs/{dead}/retry")).await;
    assert_eq!(retried.status, 409);
    let text = retried.text();
    assert!(text.contains("Another job has the unique key"), "{text}");

    let form = "scope=all&operation=retry&queue=sync&state=dead";
    let bulk = submit(&app, "/board/jobs/act", form).await;
    let address = bulk.header("location");
    assert!(address.ends_with("&taken=1"), "{address}");
    let text = page(&app, address).await.text();
    assert!(text.contains("0 jobs were put back in line"), "{text}");
    assert!(text.contains("1 were left alone because"), "{text}");
}
