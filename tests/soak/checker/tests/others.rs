//! Answers, jobs, files and those who left.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{KEEPER, Story, unavailable};
use crate::call::Call;
use crate::history::Event;

#[test]
fn a_job_that_is_lost_or_has_no_end_is_found() {
    let mut story = Story::default();
    story.call(sync(), 202, json!({"job": "sync_1"}));
    story.is_wrong("job sync_1: is lost");
    story.job("sync_1", json!({"state": "retrying"}));
    story.is_wrong("job sync_1: has no end");
}

#[test]
fn a_job_that_is_given_up_with_attempts_left_is_found() {
    let mut story = Story::default();
    story.call(sync(), 202, json!({"job": "sync_1"}));
    let dead = |attempts| json!({"state": "dead", "attempts": attempts, "max_attempts": 8});
    story.job("sync_1", dead(8));
    story.is_right();
    story.job("sync_1", dead(1));
    story.is_wrong("dead with attempts left");
}

fn sync() -> Call {
    Call::Sync {
        user: KEEPER.to_owned(),
        kind: "allOne".to_owned(),
        key: "k".to_owned(),
        later: true,
    }
}

#[test]
fn answers_that_are_not_documented_are_found() {
    let error = |code: &str| json!({"error": code, "message": "…"});
    let found = |status, body: Value, what: &str| {
        let mut story = Story::default();
        story.call(sync(), status, body);
        story.is_wrong(what);
    };
    found(
        500,
        error("job_failed"),
        "a server error that is not documented",
    );
    found(
        502,
        error("upstream_failed"),
        "a server error that is not documented",
    );
    found(
        503,
        json!({"error": "unavailable"}),
        "an error without its shape",
    );
    found(
        404,
        error("user_not_found"),
        "a status that this call cannot have here",
    );
}

#[test]
fn a_503_that_does_not_say_when_to_come_again_is_found() {
    let mut story = Story::default();
    story.call(sync(), 503, unavailable());
    story.is_right();
    if let Some(Event::Answered { answer, .. }) = story.entries.last_mut().map(|it| &mut it.event) {
        answer.retry_after = None;
    }
    story.is_wrong("503 without Retry-After");
}

#[test]
fn a_cache_that_differs_from_convex_is_found() {
    for (cached, what) in [
        (vec![("f", 1), ("g", 1)], "f is cached as 1"),
        (vec![("f", 2), ("g", 1), ("h", 1)], "h is cached as 1"),
        (vec![("f", 2)], "g is missing in a set of all files"),
    ] {
        let mut story = Story::default();
        story.import(Some(2), 200);
        let files = BTreeMap::from([("g".to_owned(), Some(1))]);
        let user = KEEPER.to_owned();
        story.call(Call::Import { user, files }, 200, Value::Null);
        story.files(true, &cached, &[("f", 2), ("g", 1)]);
        story.is_wrong(what);
    }
}

#[test]
fn an_import_that_is_lost_is_found() {
    for (imports, convex, is_right) in [
        (vec![(Some(1), 200), (Some(2), 200)], vec![("f", 1)], false),
        (vec![(Some(1), 200), (Some(2), 503)], vec![("f", 1)], true),
        (vec![(Some(1), 200), (None, 200)], vec![("f", 1)], false),
        (vec![(Some(1), 200)], vec![], false),
        (vec![], vec![("f", 1)], false),
    ] {
        let mut story = Story::default();
        for (version, status) in imports {
            story.import(version, status);
        }
        story.files(true, &convex, &convex);
        match is_right {
            true => story.is_right(),
            false => story.is_wrong("Convex holds f"),
        }
    }
}

#[test]
fn what_is_left_of_a_user_who_left_is_found() {
    for (keys, documents) in [
        (vec!["sm1:{u}:stage:1:entries".to_owned()], None),
        (vec![], Some(1)),
    ] {
        let mut story = Story::default();
        story.add(Event::Left {
            user: "leaver".to_owned(),
            kind: "DEL".to_owned(),
            keys,
            documents,
        });
        story.is_wrong("leaver: after DEL");
    }
}

#[test]
fn changes_that_are_told_twice_or_out_of_order_are_found() {
    let mut story = Story::default();
    story.nudge(2);
    story.nudge(2);
    story.is_wrong("was told twice");
    let mut story = Story::default();
    story.nudge(2);
    story.nudge(1);
    story.is_wrong("was told after");
}

#[test]
fn jobs_that_go_on_for_ever_are_found_also_when_nobody_knows_their_names() {
    let mut story = Story::default();
    let left = BTreeMap::new();
    story.add(Event::Lines { left });
    story.is_right();
    let left = BTreeMap::from([("sq1:{sync}:held".to_owned(), 1)]);
    story.add(Event::Lines { left });
    story.is_wrong("jobs without an end");
}

#[test]
fn a_job_that_goes_on_after_its_end_is_found() {
    let look = || Call::Job {
        job: "sync_1".to_owned(),
    };
    let state = |state: &str| json!({"id": "sync_1", "state": state});
    let mut story = Story::default();
    let early = story.send(look());
    story.call(look(), 200, state("running"));
    story.call(look(), 200, state("completed"));
    // Sent before the end was seen.
    story.answer(early, 200, state("running"));
    story.is_right();
    story.call(look(), 200, state("retrying"));
    story.is_wrong("job sync_1: had ended, but is \"retrying\"");
}

#[test]
fn a_stream_that_tells_of_another_job_is_found() {
    let mut story = Story::default();
    story.add(Event::Followed {
        job: "sync_1".to_owned(),
        view: json!({"id": "sync_2", "state": "running"}),
    });
    story.is_wrong("job sync_1: its stream tells");
}
