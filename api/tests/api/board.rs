use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use sluice_api::auth::Scope;
use sluice_queue::{JobError, JobId};

use crate::app::{Answer, App, post, token};

const ORIGIN: &str = "http://board.test";

/// A request as a browser sends it from a page of the board.
fn browse(method: Method, path: &str, body: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "board.test")
        .header("origin", ORIGIN)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("cookie", format!("sluice_board={}", token(&[Scope::Admin])))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

async fn page(app: &App, path: &str) -> Answer {
    app.send(browse(Method::GET, path, "")).await
}

async fn press(app: &App, path: &str) -> Answer {
    app.send(browse(Method::POST, path, "")).await
}

async fn log_in(app: &App, token: &str) -> Answer {
    app.send(browse(
        Method::POST,
        "/board/login",
        &format!("token={token}"),
    ))
    .await
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
async fn without_a_good_cookie_every_page_leads_to_the_login() {
    let app = App::start().await;
    let job = enqueue(&app, "u").await;
    let paths = [
        "/board",
        "/board/queues/sync",
        &format!("/board/jobs/{job}"),
        &format!("/board/jobs/{job}/live"),
    ];
    for path in paths {
        for cookie in [
            "",
            "sluice_board=x",
            &format!("sluice_board={}", token(&[Scope::MetaWrite])),
        ] {
            let mut request = browse(Method::GET, path, "");
            request
                .headers_mut()
                .insert("cookie", cookie.parse().unwrap());
            let answer = app.send(request).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("location")),
                (303, "/board/login"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn logging_in_keeps_the_token_where_only_the_board_gets_it() {
    let app = App::start().await;
    let token = token(&[Scope::Admin]);
    let answer = log_in(&app, &token).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, "/board")
    );
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.starts_with(&format!("sluice_board={token}; Path=/board; Max-Age=")),
        "{cookie}"
    );
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
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
async fn logging_out_drops_the_cookie() {
    let app = App::start().await;
    let answer = press(&app, "/board/logout").await;
    assert!(
        answer
            .header("set-cookie")
            .starts_with("sluice_board=; Path=/board; Max-Age=0;")
    );
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
        text.contains("href=\"/board/queues/sync?state=available&amp;page=0\">3</a>"),
        "{text}"
    );
}

#[tokio::test]
async fn jobs_of_a_state_are_listed_in_pages() {
    let app = App::start().await;
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(enqueue(&app, &format!("u{number}")).await);
    }
    let first = page(&app, "/board/queues/sync?state=available")
        .await
        .text();
    let second = page(&app, "/board/queues/sync?state=available&page=1")
        .await
        .text();
    let on = |text: &str| {
        ids.iter()
            .filter(|id| text.contains(&format!("/board/jobs/{id}")))
            .count()
    };
    assert_eq!((on(&first), on(&second)), (25, 5));
    assert!(first.contains("rel=\"next\"") && !first.contains("rel=\"prev\""));
    assert!(second.contains("rel=\"prev\"") && !second.contains("rel=\"next\""));
    assert_eq!(page(&app, "/board/queues/none").await.status, 404);
    assert_eq!(page(&app, "/board/queues/sync?state=odd").await.status, 404);
}

#[tokio::test]
async fn what_users_wrote_is_escaped() {
    let app = App::start().await;
    let job = enqueue(&app, "<script>alert(1)</script>\"'&").await;
    for path in ["/board/queues/sync", &format!("/board/jobs/{job}")] {
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
        text.contains("the first attempt went wrong") && text.contains(">Retry</button>"),
        "{text}"
    );
    assert!(!text.contains(">Cancel</button>"));

    let retried = press(&app, &format!("{path}/retry")).await;
    assert_eq!(
        (retried.status.as_u16(), retried.header("location")),
        (303, &*path)
    );
}

#[tokio::test]
async fn a_waiting_job_can_be_cancelled_once() {
    let app = App::start().await;
    let path = format!("/board/jobs/{}", enqueue(&app, "u").await);
    assert!(page(&app, &path).await.text().contains(">Cancel</button>"));
    assert_eq!(press(&app, &format!("{path}/cancel")).await.status, 303);
    let again = press(&app, &format!("{path}/cancel")).await;
    assert_eq!(again.status, 409);
    assert!(again.text().contains("nothing to cancel"));
}

#[tokio::test]
async fn actions_from_other_sites_do_nothing() {
    let app = App::start().await;
    let job = enqueue(&app, "u").await;
    for origin in [
        "http://elsewhere.test",
        "null",
        "https://board.test.evil.example",
    ] {
        let mut request = browse(Method::POST, &format!("/board/jobs/{job}/cancel"), "");
        request
            .headers_mut()
            .insert("origin", origin.parse().unwrap());
        assert_eq!(app.send(request).await.status, 403, "{origin}");
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
