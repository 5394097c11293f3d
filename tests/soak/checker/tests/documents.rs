//! Documents that all write, and their watchers.

use serde_json::{Value, json};

use super::{SHARED, Story, unavailable};
use crate::call::Call;

fn marking(mark: &str) -> Call {
    Call::Mark {
        document: SHARED.to_owned(),
        mark: mark.to_owned(),
        key: Some(mark.to_owned()),
        expected: None,
        later: false,
    }
}

fn read() -> Call {
    let document = SHARED.to_owned();
    Call::Read { document }
}

/// The shared document after these marks.
fn with(marks: &[&str]) -> Value {
    json!({"revision": marks.len() + 1, "data": {"count": marks.len(), "marks": marks}})
}

#[test]
fn a_history_in_which_all_is_well_has_no_findings() {
    let mut story = Story::default();
    story.call(marking("x"), 200, with(&["x"]));
    story.see("present", with(&["x"]));
    story.lose(marking("y"));
    story.call(marking("y"), 503, unavailable());
    story.call(marking("y"), 200, with(&["x", "y"]));
    story.see("change", with(&["x", "y"]));
    story.call(marking("y"), 200, with(&["x", "y"]));
    story.call(read(), 200, with(&["x", "y"]));
    story.call(marking("z"), 202, json!({"job": "documents_1"}));
    story.lose(marking("never made"));
    story.see("change", with(&["x", "y", "z"]));
    let made =
        json!({"state": "completed", "attempts": 1, "max_attempts": 8, "result": {"revision": 4}});
    story.job("documents_1", made);
    story.end(SHARED, with(&["x", "y", "z"]));
    story.import(Some(1), 200);
    story.nudge(1);
    story.nudge(2);
    story.files(true, &[("f", 1)], &[("f", 1)]);
    story.is_right();
}

#[test]
fn an_acknowledged_write_that_is_not_there_is_found() {
    let mut story = Story::default();
    story.call(marking("x"), 200, json!({}));
    story.end(SHARED, with(&[]));
    story.is_wrong("mark x was acknowledged, but is lost");
}

#[test]
fn an_accepted_write_whose_job_completed_without_it_is_found() {
    let mut story = Story::default();
    story.call(marking("x"), 202, json!({"job": "documents_1"}));
    story.job(
        "documents_1",
        json!({"state": "completed", "result": {"revision": 2}}),
    );
    story.end(SHARED, with(&[]));
    story.is_wrong("mark x was");
}

#[test]
fn an_accepted_write_whose_job_refused_it_is_not_made() {
    let error = json!({"error": "revision_conflict", "message": "…"});
    let refused = json!({"state": "completed", "error": error});
    for (made, is_right) in [(vec![], true), (vec!["x"], false)] {
        let mut story = Story::default();
        story.call(marking("x"), 202, json!({"job": "documents_1"}));
        story.job("documents_1", refused.clone());
        story.end(SHARED, with(&made));
        match is_right {
            true => story.is_right(),
            false => story.is_wrong("mark x was refused, but made"),
        }
    }
}

#[test]
fn a_write_that_was_made_twice_is_found() {
    let mut story = Story::default();
    story.lose(marking("x"));
    story.end(SHARED, with(&["x", "x"]));
    story.is_wrong("mark x was made twice");
}

#[test]
fn a_retry_that_is_answered_with_another_revision_is_found() {
    let mut story = Story::default();
    story.call(marking("x"), 200, json!({"revision": 3}));
    story.end(SHARED, with(&["x"]));
    story.is_wrong("revision 3");
}

#[test]
fn a_write_that_was_refused_but_made_is_found() {
    let mut story = Story::default();
    let batch = Call::Batch {
        service: "inline".to_owned(),
        marks: vec![("a".to_owned(), "x".to_owned())],
        later: false,
    };
    let outcome = json!({"status": 404, "error": {"error": "not_found", "message": "…"}});
    story.call(batch, 200, json!({"outcomes": [outcome]}));
    story.end(SHARED, with(&["x"]));
    story.is_wrong("mark x was refused, but made");
}

#[test]
fn a_count_that_is_not_that_of_the_marks_is_found() {
    let mut story = Story::default();
    story.lose(marking("x"));
    let end = json!({"revision": 2, "data": {"count": 2, "marks": ["x"]}});
    story.end(SHARED, end);
    story.is_wrong("1 marks, but count 2");
}

#[test]
fn a_revision_without_a_mark_is_found() {
    let mut story = Story::default();
    story.lose(marking("x"));
    let end = json!({"revision": 3, "data": {"count": 1, "marks": ["x"]}});
    story.end(SHARED, end);
    story.is_wrong("1 marks, but revision 3");
}

#[test]
fn writes_in_another_order_than_that_of_their_acceptance_are_found() {
    let mut story = Story::default();
    story.call(marking("x"), 202, json!({"job": "documents_1"}));
    story.lose(marking("y"));
    story.job(
        "documents_1",
        json!({"state": "completed", "result": {"revision": 3}}),
    );
    story.end(SHARED, with(&["y", "x"]));
    story.is_wrong("mark x was acknowledged before y was sent, but comes after it");
}

#[test]
fn a_read_of_what_was_there_before_an_answered_write_is_found() {
    let mut story = Story::default();
    story.call(marking("x"), 200, with(&["x"]));
    story.call(read(), 200, with(&[]));
    story.end(SHARED, with(&["x"]));
    story.is_wrong("read 1 after 2 was answered");
}

#[test]
fn a_revision_that_is_seen_with_another_content_is_found() {
    let mut story = Story::default();
    story.lose(marking("x"));
    story.lose(marking("y"));
    story.call(read(), 200, with(&["y"]));
    story.end(SHARED, with(&["x"]));
    story.is_wrong("saw that revision 2");
}

#[test]
fn a_shared_document_that_is_gone_is_found() {
    let mut story = Story::default();
    story.lose(marking("x"));
    story.end(SHARED, Value::Null);
    story.is_wrong("is lost");
}

#[test]
fn a_watcher_who_misses_or_repeats_a_revision_is_found() {
    let marks = ["x", "y", "z"];
    for (kind, seen) in [
        ("change", 3),
        ("change", 1),
        ("present", 3),
        ("reset", 1),
        ("gone", 0),
    ] {
        let mut story = Story::default();
        marks.iter().for_each(|mark| story.lose(marking(mark)));
        story.see("present", with(&["x"]));
        match seen {
            0 => story.see(kind, Value::Null),
            seen => story.see(kind, with(&marks[..seen])),
        }
        story.is_wrong(&format!("w: {kind}"));
    }
}

#[test]
fn a_watcher_who_does_not_come_to_the_end_is_found() {
    let mut story = Story::default();
    story.lose(marking("x"));
    story.see("present", with(&[]));
    story.end(SHARED, with(&["x"]));
    story.is_wrong("saw inline/a up to (None, 1), it is at 2");
}

#[test]
fn a_repetition_that_is_refused_though_the_write_was_made_is_found() {
    let mut story = Story::default();
    story.lose(marking("x"));
    let error = json!({"error": "revision_conflict", "message": "…"});
    let mut again = marking("x");
    if let Call::Mark { expected, .. } = &mut again {
        *expected = Some(1);
    }
    story.call(again, 409, error);
    story.end(SHARED, with(&["x"]));
    story.is_wrong("mark x was refused, but made");
}

#[test]
fn a_write_on_another_revision_than_the_expected_one_is_found() {
    let mut story = Story::default();
    story.lose(marking("x"));
    let mut on_first = marking("y");
    if let Call::Mark { expected, .. } = &mut on_first {
        *expected = Some(1);
    }
    story.lose(on_first);
    story.end(SHARED, with(&["x", "y"]));
    story.is_wrong("mark y was to be made on 1, but made 3");
}
