use serde_json::{Value, json};
use sluice_api::answers::Job;
use sluice_api::auth::Scope;
use sluice_queue::{JobId, State};

use crate::app::{Answer, App, USER, brief_token, get, post, raw, sync_body, token, token_of};

async fn enqueue(app: &App) -> String {
    let answer = app
        .send(
            post("sync", &sync_body())
                .header("prefer", "respond-async")
                .build(),
        )
        .await;
    answer.header("location").to_owned()
}

#[tokio::test]
async fn a_job_is_shown_in_the_documented_shape() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let shown = app.get(&enqueue(&app).await, &[Scope::MetaRead]).await;
    assert_eq!(shown.status, 200);
    let documented =
        serde_json::to_value(serde_json::from_slice::<Job>(&shown.body).unwrap()).unwrap();
    for (name, value) in documented.as_object().unwrap() {
        assert_eq!(&shown.json()[name], value, "{name}");
    }
    assert_eq!(documented["payload"], sync_body());
}

#[tokio::test]
async fn a_scope_of_its_kind_or_being_its_user_shows_a_job() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let job = enqueue(&app).await;
    for scope in [Scope::MetaRead, Scope::MetaWrite, Scope::Admin] {
        assert_eq!(app.get(&job, &[scope]).await.status, 200);
    }
    assert_eq!(app.send(get(&job, &token_of(USER, &[]))).await.status, 200);
    let stranger = app.send(get(&job, &token_of("usr_2", &[]))).await;
    assert_eq!(stranger.error(), (403, "forbidden".to_owned()));
    let of_documents = app.get(&job, &[Scope::DocsRead, Scope::DocsWrite]).await;
    assert_eq!(of_documents.error(), (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn unknown_jobs_are_not_found() {
    let app = App::start().await;
    for id in ["sync_01h2xcejqtf2nbrexx3vqjhp41", "nonsense", "a%7Bb%7D_x"] {
        let answer = app
            .get(&format!("/api/v1/jobs/{id}"), &[Scope::MetaRead])
            .await;
        assert_eq!(answer.error(), (404, "not_found".to_owned()), "{id}");
    }
}

/// The name and data of each event; comments are left out.
fn events(stream: &str) -> Vec<(String, Value)> {
    stream
        .split("\n\n")
        .filter_map(|event| {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            let data = serde_json::from_str(field("data: ")?).unwrap();
            Some((field("event: ")?.to_owned(), data))
        })
        .collect()
}

#[tokio::test]
async fn a_watched_job_streams_states_and_progress_and_ends() {
    let app = App::start().await;
    let job = enqueue(&app).await;
    let mut request = get(&job, &token(&[Scope::MetaWrite]));
    request
        .headers_mut()
        .insert("accept", "text/event-stream".parse().unwrap());
    let work = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        app.work("sync", async |running| {
            for entries in [1, 2] {
                running
                    .progress(&json!({"entries": entries}))
                    .await
                    .unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            }
            Ok(raw(&json!({"synced": 2})))
        });
    };
    let (answer, ()) = tokio::join!(app.send(request), work);
    assert_eq!(answer.header("content-type"), "text/event-stream");

    let events = events(&answer.text());
    let states: Vec<&Value> = events
        .iter()
        .filter(|(name, _)| name == "state")
        .map(|(_, job)| &job["state"])
        .collect();
    assert_eq!(states, ["available", "running", "completed"]);
    assert!(
        events
            .iter()
            .any(|(name, job)| name == "progress" && job["progress"]["entries"] == 2)
    );
    let (last, job) = events.last().unwrap();
    assert_eq!(
        (&**last, &job["result"]),
        ("end", &json!({"synced": 2})),
        "{job}"
    );
}

/// A look at a job by a client that accepts this, and has seen that last.
async fn look(app: &App, job: &str, accept: &str, last_seen: Option<&str>) -> Answer {
    let mut request = get(job, &token(&[Scope::MetaRead]));
    let headers = request.headers_mut();
    headers.insert("accept", accept.parse().unwrap());
    if let Some(last_seen) = last_seen {
        headers.insert("last-event-id", last_seen.parse().unwrap());
    }
    app.send(request).await
}

#[tokio::test]
async fn who_has_seen_the_last_event_of_a_job_does_not_come_for_it_again() {
    let app = App::start().await;
    let job = enqueue(&app).await;
    let id = JobId::parse(job.rsplit('/').next().unwrap()).unwrap();
    app.queues.cancel(&id).await.unwrap();
    // As an `EventSource` that never saw it, and as one whose stream broke off before the end.
    for last_seen in [None, Some("available")] {
        let stream = look(&app, &job, "text/event-stream", last_seen).await;
        let text = stream.text();
        let [state, end, rest] = text.splitn(3, "\n\n").collect::<Vec<_>>()[..] else {
            panic!("{text}");
        };
        for line in ["event: state", "id: cancelled", "retry: 2000"] {
            assert!(state.lines().any(|it| it == line), "{line}: {text}");
        }
        for line in ["event: end", "id: end"] {
            assert!(end.lines().any(|it| it == line), "{line}: {text}");
        }
        assert_eq!(rest, "");
    }
    let again = look(&app, &job, "text/event-stream", Some("end")).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (204, 0));
    // A job that was retried meanwhile has events again.
    app.queues.retry(&id).await.unwrap();
    let watch = look(&app, &job, "text/event-stream", Some("end"));
    let cancel = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        app.queues.cancel(&id).await.unwrap();
    };
    let (stream, _) = tokio::join!(watch, cancel);
    assert!(stream.text().contains("id: available"), "{}", stream.text());
}

#[tokio::test]
async fn a_client_that_does_not_want_events_gets_the_job_once() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let job = enqueue(&app).await;
    for accept in [
        "text/event-stream;q=0",
        "text/event-stream;q=0, application/json",
        "application/json, text/event-stream;q=0.5",
        "*/*",
    ] {
        let answer = look(&app, &job, accept, None).await;
        let kind = answer.header("content-type");
        assert_eq!(
            (answer.status.as_u16(), kind),
            (200, "application/json"),
            "{accept}"
        );
        assert_eq!(answer.json()["state"], "available");
    }
}

#[tokio::test]
async fn a_shutdown_ends_streams() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let mut request = get(&enqueue(&app).await, &token(&[Scope::MetaWrite]));
    request
        .headers_mut()
        .insert("accept", "text/event-stream".parse().unwrap());
    let shutdown = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        app.shutdown.cancel();
    };
    let (answer, ()) = tokio::join!(app.send(request), shutdown);
    assert_eq!(events(&answer.text()).len(), 1);
}

#[tokio::test]
async fn a_cancelled_job_is_told_to_who_waits() {
    let app = App::start().await;
    let location = enqueue(&app).await;
    let id = JobId::parse(location.rsplit('/').next().unwrap()).unwrap();
    let cancel = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(app.queues.cancel(&id).await.unwrap());
    };
    // The same request shares the job.
    let body = sync_body();
    let (answer, ()) = tokio::join!(app.post("sync", &body), cancel);
    assert_eq!(answer.error(), (409, "job_cancelled".to_owned()));
}

#[tokio::test]
async fn a_stream_ends_with_its_token_though_the_job_goes_on() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let mut request = get(&enqueue(&app).await, &brief_token(2));
    let accept = "text/event-stream".parse().unwrap();
    request.headers_mut().insert("accept", accept);
    let events = events(&app.send(request).await.text());
    let names: Vec<&str> = events.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["state"]);
}
