//! The board, seen and used in a real browser: on a desk, 1280 px wide, and on a phone, 390 px.

mod browser;

use serde_json::json;
use sluice_queue::{NewJob, State};
use sluice_test_support::Proxy;

use crate::harness::{Deployment, eventually, files};
use browser::{Screen, Session};

/// Jobs that no worker can run, of users by turns.
async fn dead_jobs(deployment: &Deployment, count: usize) {
    let queues = deployment.queues().await;
    for n in 0..count {
        let job = NewJob {
            user: Some(format!("usr_{}", n % 7)),
            ..NewJob::new("sync", &json!({"user": n})).unwrap()
        };
        queues.enqueue(job).await.unwrap();
    }
    eventually("the jobs are dead", async || {
        let all = queues.queues().await.unwrap();
        all.iter().any(|queue| queue.dead == count as u64)
    })
    .await;
}

/// What an operator does in a night: sees what is stuck, watches, searches, filters, acts on many,
/// undoes, pauses, runs a schedule, reads what was done.
async fn a_night(screen: Screen) {
    let mut deployment = Deployment::without_workers(&[]).await;
    deployment.leaves_jobs(State::Dead);
    deployment.leaves_jobs(State::Available);
    deployment.leaves_jobs(State::Scheduled);
    let client = deployment.client.clone();
    client.import(&files("ann", 9000)).await;
    let proxy = Proxy::start(deployment.convex_address()).await;
    let worker =
        deployment.worker_with(&[("SLUICE_CONVEX_URL", &proxy.url()), ("SLUICE_TAIL", "off")]);
    deployment.workers.push(worker);
    dead_jobs(&deployment, 30).await;
    let session = Session::start(screen).await;
    session.open(&deployment, "/board").await;
    session.find("#token").await;
    session.audit("login").await;
    session.log_in(&deployment, "admin").await;

    // What is stuck, and the button.
    session.shows("sync has 30 dead jobs").await;
    session.shows("Retry all").await;
    session.audit("overview").await;

    // A running job's progress moves while it is looked at. The first sync says how many there
    // are, about.
    let body = json!({"user": "ann", "type": "allOne"});
    let first = client.enqueue("sync", &body).await;
    client.finished(&first).await;
    proxy.hold_after(1_600_000);
    let id = client.enqueue("sync", &body).await;
    session
        .open(&deployment, &format!("/board/jobs/{id}"))
        .await;
    session.shows("of about 9 000").await;
    let lasted = async || {
        session
            .run("return document.querySelector('.progress [data-lasting]').textContent")
            .await
    };
    let before = lasted().await;
    eventually("the time goes on", async || lasted().await != before).await;
    session.audit("job-running").await;
    proxy.open();
    session.shows("completed").await;
    session.shows("9 000 in").await;
    session.shows("\"synced\": 9000").await;
    session.audit("job-completed").await;

    // A search and filters, which the address keeps.
    session.press("nav.sections a[href='/board/jobs']").await;
    session.shows("retrying").await;
    let typed = session.find("#text").await;
    typed.send_keys("USR_3").await.unwrap();
    session.press("#search").await;
    session.shows("usr_3").await;
    let found = "return document.querySelectorAll('table.jobs tbody tr').length";
    assert_eq!(session.run(found).await, 4);
    let link = session.browser.current_url().await.unwrap();
    assert_eq!(link.query(), Some("text=USR_3&queue=&state=&user=&error="));
    session.audit("jobs-found").await;
    session
        .open(&deployment, "/board/jobs?queue=sync&state=dead")
        .await;
    session.find("td[data-label=Died]").await;
    assert_eq!(session.run(found).await, 25);
    session.audit("jobs-dead").await;
    session
        .open(&deployment, "/board/jobs?state=dead&user=usr_6")
        .await;
    assert_eq!(session.run(found).await, 4);

    // One of them, with why it died.
    session.press("table.jobs tbody a").await;
    session.shows("Attempts that failed").await;
    session.audit("job-dead").await;

    // Some are selected, deleted, and brought back.
    session
        .open(&deployment, "/board/jobs?queue=sync&state=dead")
        .await;
    for row in [1, 2] {
        session
            .press(&format!("table.jobs tbody tr:nth-child({row}) input"))
            .await;
    }
    session.press("form#selection button[value=delete]").await;
    session.shows("Delete 2 jobs?").await;
    session.audit("confirm").await;
    session.press("#confirm").await;
    session.shows("2 jobs were deleted").await;
    session.audit("notice").await;
    session.press("#undo").await;
    session.shows("Undone: delete 2 selected jobs").await;

    // All that a filter means are retried; the count is said before.
    session
        .open(&deployment, "/board/jobs?queue=sync&state=dead")
        .await;
    session.press("#all-retry").await;
    session.shows("Retry 30 jobs?").await;
    session.press("#confirm").await;
    session
        .shows("30 jobs were put back in line: all dead jobs of the queue sync")
        .await;

    // A queue is paused, shows no second button for it, and goes on.
    session.open(&deployment, "/board/queues/sync").await;
    assert!(!session.has("#resume").await);
    session.confirm("#pause").await;
    session.shows("Paused for").await;
    assert!(!session.has("#pause").await);
    session.audit("queue").await;
    session.confirm("#resume").await;
    session.shows("Gives out jobs").await;
    assert!(session.has("#pause").await);

    // A schedule runs now.
    session.open(&deployment, "/board/schedules").await;
    session.shows("filesync-trim").await;
    session.audit("schedules").await;
    session.confirm("#run-purge").await;
    session.shows("purge_").await;
    session.shows("completed").await;

    // The worker, and what was done.
    session.open(&deployment, "/board/workers").await;
    session.shows("Last heartbeat").await;
    session.audit("workers").await;
    session.open(&deployment, "/board/audit").await;
    for said in [
        "all dead jobs of the queue sync",
        "queue sync",
        "schedule purge",
        "operator by board",
    ] {
        session.shows(said).await;
    }
    session.audit("audit").await;
    session.open(&deployment, "/board").await;
    session.shows("Throughput").await;
    session.audit("overview-later").await;
    session.close().await;
}

#[tokio::test]
async fn an_operator_gets_through_a_night_on_a_desk() {
    a_night(Screen::Desk).await;
}

#[tokio::test]
async fn an_operator_gets_through_a_night_on_a_phone() {
    a_night(Screen::Phone).await;
}

#[tokio::test]
async fn an_operator_cancels_a_waiting_job_and_retries_it() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 10)).await;
    let id = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    let session = Session::start(Screen::Desk).await;
    session.log_in(&deployment, "admin").await;
    session.shows("sync").await;
    session
        .open(&deployment, &format!("/board/jobs/{id}"))
        .await;
    session.shows("available").await;
    session.confirm("#cancel").await;
    session.shows("cancelled").await;
    assert_eq!(client.job(&id).await["state"], "cancelled");
    session.confirm("#retry").await;
    session.shows("available").await;
    deployment.add_worker();
    session.shows("completed").await;
    session.close().await;
}

#[tokio::test]
async fn a_watched_job_leads_to_the_login_when_the_session_ends_elsewhere_and_back() {
    let deployment = Deployment::without_workers(&[]).await;
    deployment.leaves_jobs(State::Available);
    let client = deployment.client.clone();
    let id = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    let session = Session::start(Screen::Desk).await;
    let groups: Vec<String> = (0..90)
        .map(|group| format!("admin cn=group-{group:02},ou=groups,dc=example"))
        .collect();
    let page = format!("/board/jobs/{id}");
    session.open(&deployment, &page).await;
    let token = client.token("operator", &groups.join(" "), 600);
    assert!(token.len() > 4096);
    session.enter(&token).await;
    session.shows("available").await;

    let cookie = session.browser.get_named_cookie("sluice_board").await;
    let cookie = format!("sluice_board={}", cookie.unwrap().value());
    let logout = client.request("POST", "/board/logout");
    let logout = logout.header("sec-fetch-site", "same-origin");
    logout.header("cookie", cookie).send().await.unwrap();
    session.shows("Your session has ended").await;
    session.enter(&token).await;
    session.shows(&id).await;
    session.close().await;
}

#[tokio::test]
async fn the_board_is_closed_to_everybody_else() {
    let deployment = Deployment::without_workers(&[]).await;
    let session = Session::start(Screen::Desk).await;
    session.log_in(&deployment, "meta:read meta:write").await;
    session.shows("Not logged in").await;
    for path in [
        "/board",
        "/board/queues/sync",
        "/board/jobs/sync_01j00000000000000000000000",
    ] {
        session.open(&deployment, path).await;
        session.find("#token").await;
    }
    session.close().await;
}
