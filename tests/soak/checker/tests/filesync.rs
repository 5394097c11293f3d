//! A share that devices change.

use serde_json::{Value, json};

use super::Story;
use crate::call::Call;
use crate::history::Event;

const SHARE: &str = "shr_a";

fn entry(position: u64, id: &str, resource: &str, kind: &str) -> Value {
    json!({"position": position, "id": id, "resource_id": resource, "change_type": kind})
}

fn born() -> Value {
    entry(1, "chg_1", SHARE, "created")
}

fn edit(resource: &str) -> Call {
    Call::Edit {
        share: SHARE.to_owned(),
        device: "editor0".to_owned(),
        change: json!({"id": resource, "resource_id": resource, "change_type": "created"}),
    }
}

fn applied(position: u64) -> Value {
    json!({"applied": [{"outcome": "applied", "position": position}], "conflicts": []})
}

/// `d1` was acknowledged at position 2.
fn begun() -> Story {
    let mut story = Story::default();
    story.call(edit("d1"), 200, applied(2));
    story
}

impl Story {
    fn log(&mut self, changes: &[Value]) {
        self.add(Event::Log {
            share: SHARE.to_owned(),
            changes: changes.to_vec(),
        });
    }

    fn page(&mut self, after: u64, cursor: u64, changes: &[Value]) {
        let call = Call::Changes {
            share: SHARE.to_owned(),
            after,
            since: None,
        };
        self.call(
            call,
            200,
            json!({"changes": changes, "cursor": cursor, "has_more": false}),
        );
    }
}

#[test]
fn what_was_acknowledged_read_and_told_is_in_the_log() {
    let mut story = begun();
    story.call(edit("d1"), 200, applied(2));
    story.lose(edit("d2"));
    story.page(0, 2, &[born(), entry(2, "chg_2", "d1", "created")]);
    story.add(Event::Frame {
        share: SHARE.to_owned(),
        position: 2,
        id: "chg_2".to_owned(),
    });
    story.log(&[
        born(),
        entry(2, "chg_2", "d1", "created"),
        entry(3, "chg_3", "d2", "created"),
    ]);
    story.is_right();
}

#[test]
fn an_acknowledged_change_that_is_not_at_its_position_is_found() {
    let mut story = begun();
    story.log(&[born()]);
    story.is_wrong("was acknowledged");
}

#[test]
fn a_change_that_is_there_twice_is_found() {
    let mut story = begun();
    let twice = [2, 3].map(|at| entry(at, "chg", "d1", "created"));
    story.log(&[[born()].as_slice(), &twice].concat());
    story.is_wrong("twice");
}

#[test]
fn a_gap_is_found() {
    let mut story = begun();
    story.lose(edit("d2"));
    story.log(&[
        born(),
        entry(2, "chg_2", "d1", "created"),
        entry(4, "chg_3", "d2", "created"),
    ]);
    story.is_wrong("is entry 3");
}

#[test]
fn what_nobody_has_told_is_found() {
    let mut story = begun();
    story.log(&[
        born(),
        entry(2, "chg_2", "d1", "created"),
        entry(3, "chg_3", "d2", "created"),
    ]);
    story.is_wrong("nobody has told");
}

#[test]
fn two_answers_to_one_change_are_found() {
    let mut story = begun();
    story.lose(edit("d2"));
    let mut item = applied(2);
    item["applied"][0]["path"] = json!("/other");
    story.call(edit("d1"), 200, item);
    story.log(&[born(), entry(2, "chg_2", "d1", "created")]);
    story.is_wrong("was answered");
}

#[test]
fn a_page_or_a_frame_that_is_not_as_the_log_is_found() {
    let log = [born(), entry(2, "chg_2", "d1", "created")];
    let mut story = begun();
    story.page(1, 2, &[entry(2, "chg_other", "d1", "created")]);
    story.log(&log);
    story.is_wrong("a page has");
    let mut story = begun();
    story.page(1, 3, &log[1..]);
    story.log(&log);
    story.is_wrong("has the cursor 3");
    let mut story = begun();
    story.add(Event::Frame {
        share: SHARE.to_owned(),
        position: 2,
        id: "chg_other".to_owned(),
    });
    story.log(&log);
    story.is_wrong("a frame told");
}

#[test]
fn a_content_that_is_not_what_was_uploaded_is_found() {
    let upload = Call::Upload {
        share: SHARE.to_owned(),
        file: "f".to_owned(),
        text: "text".to_owned(),
    };
    for (status, text, is_right) in [(200, "text", true), (200, "tex", false), (404, "", false)] {
        let mut story = Story::default();
        story.call(upload.clone(), 200, Value::Null);
        story.add(Event::Content {
            file: "f".to_owned(),
            status,
            text: text.to_owned(),
        });
        match is_right {
            true => story.is_right(),
            false => story.is_wrong("its download"),
        }
    }
}
