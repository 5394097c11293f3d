//! What operators have beyond single jobs: searches, actions on many with their undoing, counts
//! over time, processes with their signals, the audit log, schedules as they are kept.

use std::time::Duration;

use sluice_queue::{
    Action, JobError, JobId, JobQuery, NewJob, Operation, Period, Process, Queues, Signal,
    Signalled, State,
};
use sluice_test_support::TestValkey;

use crate::common::*;

fn of_user(user: &str) -> NewJob {
    NewJob {
        user: Some(user.to_owned()),
        max_attempts: Some(1),
        ..job(&user)
    }
}

fn in_state(state: State) -> JobQuery {
    JobQuery {
        state: Some(state),
        ..JobQuery::default()
    }
}

/// Jobs that are dead, of `ann` and `bob` by turns.
async fn dead_jobs(queues: &Queues, count: usize) -> Vec<JobId> {
    let worker = work(queues, fast("w", 8), async |running| {
        let user = running.user().unwrap_or_default().to_owned();
        Err(JobError::Fatal(format!("no Luck for {user}")))
    });
    let mut ids = Vec::new();
    for n in 0..count {
        let user = ["ann", "bob"][n % 2];
        ids.push(queues.enqueue(of_user(user)).await.unwrap().id);
    }
    for id in &ids {
        queues.wait(id, LONG).await.unwrap().unwrap();
    }
    worker.stop().await;
    ids
}

async fn all(queues: &Queues, query: &JobQuery, page: u64) -> Vec<JobId> {
    let (mut ids, mut from) = (Vec::new(), None);
    loop {
        let found = queues.search(query, from.as_ref(), page).await.unwrap();
        ids.extend(found.jobs.into_iter().map(|job| job.id));
        // As a caller hands it back.
        let Some(next) = found.next else { return ids };
        from = Some(next.to_string().parse().unwrap());
    }
}

#[tokio::test]
async fn a_search_finds_each_job_once_page_by_page() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut dead = dead_jobs(&queues, 250).await;
    let waiting = queues.enqueue(of_user("ann")).await.unwrap().id;
    for page in [7, 100, 500] {
        let mut found = all(&queues, &in_state(State::Dead), page).await;
        found.sort_by_key(ToString::to_string);
        dead.sort_by_key(ToString::to_string);
        assert_eq!(found, dead, "{page}");
    }
    let everywhere = all(&queues, &JobQuery::default(), 50).await;
    assert_eq!((everywhere.len(), &everywhere[0]), (251, &waiting));
}

#[tokio::test]
async fn a_search_is_by_user_error_and_any_text() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let dead = dead_jobs(&queues, 6).await;
    let count = async |query: JobQuery| {
        let counted = queues.count(&query, 1_000).await.unwrap();
        assert!(!counted.at_least);
        assert_eq!(all(&queues, &query, 2).await.len() as u64, counted.jobs);
        counted.jobs
    };
    let text = |text: &str| JobQuery {
        text: Some(text.to_owned()),
        ..JobQuery::default()
    };
    let user = JobQuery {
        user: Some("ann".to_owned()),
        ..JobQuery::default()
    };
    let error = |error: &str| JobQuery {
        error: Some(error.to_owned()),
        ..JobQuery::default()
    };
    assert_eq!(count(user).await, 3);
    assert_eq!(count(error("no Luck")).await, 6);
    assert_eq!(count(error("no luck")).await, 0);
    assert_eq!(count(text("LUCK for bob")).await, 3);
    assert_eq!(count(text("ann")).await, 3);
    assert_eq!(count(text(dead[0].as_str())).await, 1);
    assert_eq!(count(text("elsewhere")).await, 0);
    let other = JobQuery {
        queue: Some("other".to_owned()),
        ..JobQuery::default()
    };
    assert_eq!(count(other).await, 0);
}

#[tokio::test]
async fn a_search_goes_on_where_it_was_though_jobs_come_and_go() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let dead = dead_jobs(&queues, 30).await;
    let query = in_state(State::Dead);
    let first = queues.search(&query, None, 10).await.unwrap();
    let last = first.jobs.last().unwrap().id.clone();
    queues.delete(&last).await.unwrap();
    queues.delete(&first.jobs[0].id).await.unwrap();
    let rest = queues
        .search(&query, first.next.as_ref(), 100)
        .await
        .unwrap();
    let seen = |id: &JobId| {
        let pages = first.jobs.iter().chain(&rest.jobs);
        pages.filter(|job| job.id == *id).count()
    };
    // Those that ended in the same millisecond as the one that is gone may come again.
    assert!(dead.iter().all(|id| seen(id) >= 1));
}

#[tokio::test]
async fn a_count_that_stops_early_says_so() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    dead_jobs(&queues, 220).await;
    let query = JobQuery {
        user: Some("ann".to_owned()),
        ..in_state(State::Dead)
    };
    let counted = queues.count(&query, 100).await.unwrap();
    assert!(counted.at_least && counted.jobs < 110, "{counted:?}");
    let counted = queues.count(&query, 10_000).await.unwrap();
    assert_eq!((counted.jobs, counted.at_least), (110, false));
}

#[tokio::test]
async fn deleted_jobs_come_back_when_that_is_undone() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let dead = dead_jobs(&queues, 130).await;
    let query = in_state(State::Dead);
    let applied = queues
        .apply_to_all(Operation::Delete, &query, "a1")
        .await
        .unwrap();
    assert_eq!(applied.done, 130);
    assert!(queues.get(&dead[0]).await.unwrap().is_none());
    assert_eq!(queues.undo(Operation::Delete, "other").await.unwrap(), 0);
    assert_eq!(queues.undo(Operation::Delete, "a1").await.unwrap(), 130);
    assert_eq!(all(&queues, &query, 100).await.len(), 130);
    let back = queues.get(&dead[0]).await.unwrap().unwrap();
    assert_eq!((back.state, back.errors.len()), (State::Dead, 1));
    assert_eq!(queues.undo(Operation::Delete, "a1").await.unwrap(), 0);
}

#[tokio::test]
async fn cancelled_jobs_are_back_in_line_when_that_is_undone() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut ids = Vec::new();
    for user in ["ann", "bob", "cat"] {
        ids.push(queues.enqueue(of_user(user)).await.unwrap().id);
    }
    let applied = queues
        .apply(Operation::Cancel, &ids[..2], "a1")
        .await
        .unwrap();
    assert_eq!(applied.done, 2);
    assert_eq!(queues.queues().await.unwrap()[0].cancelled, 2);
    assert_eq!(queues.undo(Operation::Cancel, "a1").await.unwrap(), 2);
    let stats = queues.queues().await.unwrap().remove(0);
    assert_eq!((stats.available, stats.cancelled), (3, 0));
}

#[tokio::test]
async fn a_job_that_waits_for_its_time_runs_when_it_is_told_to() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&1)));
    let later = NewJob {
        delay: Some(Duration::from_secs(3600)),
        ..job(&1)
    };
    let id = queues.enqueue(later).await.unwrap().id;
    assert_eq!(
        queues.get(&id).await.unwrap().unwrap().state,
        State::Scheduled
    );
    assert!(queues.run_now(&id).await.unwrap());
    queues.wait(&id, LONG).await.unwrap().expect("it ran");
    assert!(!queues.run_now(&id).await.unwrap());
    worker.stop().await;
}

#[tokio::test]
async fn what_a_queue_does_is_counted_by_the_minute_and_the_day() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    dead_jobs(&queues, 4).await;
    let worker = work(&queues, fast("w", 4), async |_| Ok(json(&1)));
    for n in 0..3 {
        let id = queues.enqueue(job(&n)).await.unwrap().id;
        queues.wait(&id, LONG).await.unwrap().unwrap();
    }
    worker.stop().await;
    let waiting = queues.enqueue(job(&1)).await.unwrap().id;
    queues.cancel(&waiting).await.unwrap();
    for (period, slices) in [(Period::Hour, 60), (Period::Day, 144)] {
        let history = queues.history("q", period).await.unwrap();
        assert_eq!(history.slices.len(), slices);
        let total = history.total();
        let counts = (
            total.started,
            total.completed,
            total.failed,
            total.dead,
            total.cancelled,
        );
        assert_eq!(counts, (7, 3, 4, 4, 1), "{period:?}");
        assert_eq!((total.run.count(), total.wait.count()), (7, 7));
        assert!(total.run.quantile(0.95).unwrap() < 60_000);
        let last = &history.slices[slices - 1];
        assert_eq!(last.at % period.slice_ms(), 0);
    }
}

#[tokio::test]
async fn minutes_that_are_over_are_counted_once_in_the_day() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut connection = valkey.connection();
    let (secs, _): (u64, u64) = redis::cmd("TIME").query(&mut connection).unwrap();
    let minute = secs / 60;
    let count = |minute: u64, field: &str, by: u64| {
        let mut add = redis::cmd("HINCRBY");
        add.arg(format!("sq1:{{q}}:minute:{minute}"))
            .arg(field)
            .arg(by);
        add.exec(&mut valkey.connection()).unwrap();
    };
    count(minute - 30, "c5", 10);
    count(minute - 2, "c5", 3);
    let total = async || {
        queues
            .history("q", Period::Day)
            .await
            .unwrap()
            .total()
            .completed
    };
    // A worker rolls them up as it keeps house.
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&1)));
    let rolled = || -> Option<u64> {
        let mut get = redis::cmd("HGET");
        get.arg("sq1:{q}:meta").arg("rolled_minute");
        get.query(&mut valkey.connection()).unwrap()
    };
    let begun = std::time::Instant::now();
    while rolled().is_none_or(|it| it < minute) {
        assert!(begun.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.stop().await;
    assert_eq!(total().await, 13);
    let hour = queues.history("q", Period::Hour).await.unwrap().total();
    assert_eq!(hour.completed, 13);
}

fn process(id: &str) -> Process {
    Process {
        id: id.to_owned(),
        host: "here".to_owned(),
        pid: 7,
        version: "1".to_owned(),
    }
}

#[tokio::test]
async fn a_quiet_process_fetches_nothing_until_it_may_again_and_one_that_stops_is_gone() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 3), async |_| Ok(json(&1)));
    let shown = {
        let queues = queues.clone();
        tokio::spawn(async move {
            queues.show_process(&process("p1")).await;
            queues.leave(&process("p1")).await;
        })
    };
    let seen = async |what: &str, is: &dyn Fn(&sluice_queue::ProcessView) -> bool| {
        let begun = std::time::Instant::now();
        while !queues.processes().await.unwrap().first().is_some_and(is) {
            assert!(begun.elapsed() < LONG, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    seen("it serves", &|it| {
        it.queues.get("q").is_some_and(|load| load.concurrency == 3)
    })
    .await;
    assert_eq!(
        queues.signal("p2", Signal::Quiet).await.unwrap(),
        Signalled::NotFound
    );
    assert_eq!(
        queues.signal("p1", Signal::Quiet).await.unwrap(),
        Signalled::Done
    );
    seen("it is quiet", &|it| it.quiet).await;
    let id = queues.enqueue(job(&1)).await.unwrap().id;
    let waited = queues.wait(&id, Duration::from_millis(600)).await.unwrap();
    assert!(waited.is_none(), "a quiet process took a job");
    assert_eq!(
        queues.signal("p1", Signal::Resume).await.unwrap(),
        Signalled::Done
    );
    queues.wait(&id, LONG).await.unwrap().expect("it goes on");
    assert_eq!(
        queues.signal("p1", Signal::Stop).await.unwrap(),
        Signalled::Done
    );
    assert_eq!(
        queues.signal("p1", Signal::Resume).await.unwrap(),
        Signalled::Ending
    );
    shown.await.unwrap();
    assert!(queues.processes().await.unwrap().is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn the_audit_log_has_the_latest_first_and_what_came_of_each() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut first = Action::new("ann", "board", "retry", "queue sync");
    queues.audit(&first).await.unwrap();
    let second = Action::new("bob", "api", "pause", "sync");
    tokio::time::sleep(Duration::from_millis(2)).await;
    queues.audit(&second).await.unwrap();
    let read = queues.audited(None, 10).await.unwrap();
    let ids: Vec<_> = read.iter().map(|it| &it.id).collect();
    assert_eq!(ids, [&second.id, &first.id]);
    assert_eq!((read[1].count, read[1].ended_at), (None, None));
    first.count = Some(3);
    first.ended_at = Some(5);
    queues.audit(&first).await.unwrap();
    let read = queues.audited(Some(&second.id), 10).await.unwrap();
    assert_eq!(
        (read.len(), read[0].count, read[0].who.as_str()),
        (1, Some(3), "ann")
    );
    assert_eq!(
        queues.action(&first.id).await.unwrap(),
        Some(read[0].clone())
    );
    assert_eq!(
        queues.action("01h2xcejqtf2nbrexx3vqjhp41").await.unwrap(),
        None
    );
}

#[tokio::test]
async fn what_has_passed_of_a_schedule_has_passed_for_all() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let definition = json(&serde_json::json!({"cron": "x"}));
    assert!(queues.put_schedule("nightly", &definition).await.unwrap());
    let kept = async || queues.schedules().await.unwrap().all.remove(0);
    let since = kept().await.passed;
    let job = JobId::parse("q_01h2xcejqtf2nbrexx3vqjhp41").unwrap();
    let until = since + 1000;
    queues
        .pass_schedule("nightly", until, Some(since + 500), Ok(&job))
        .await
        .unwrap();
    queues
        .pass_schedule("nightly", until - 1, Some(1), Err("late"))
        .await
        .unwrap();
    let it = kept().await;
    assert_eq!(
        (it.passed, it.tick, it.job),
        (until, Some(since + 500), Some(job))
    );
    assert_eq!(it.left_out, None);
    assert!(queues.pause_schedule("nightly", true).await.unwrap());
    assert!(kept().await.paused_at.is_some());
    assert!(queues.pause_schedule("nightly", false).await.unwrap());
    assert!(kept().await.paused_at.is_none());
    assert!(queues.remove_schedule("nightly").await.unwrap());
    assert!(!queues.remove_schedule("nightly").await.unwrap());
    assert!(!queues.pause_schedule("nightly", true).await.unwrap());
    queues
        .pass_schedule("nightly", 1, None, Err("gone"))
        .await
        .unwrap();
    assert!(queues.schedules().await.unwrap().all.is_empty());
}
