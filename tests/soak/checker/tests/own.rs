//! Documents that have one writer.

use serde_json::{Value, json};

use super::Story;
use crate::call::{Call, Step};

const OWN: &str = "inline/own";

fn step(revision: u64, step: Step) -> Call {
    Call::Step {
        document: OWN.to_owned(),
        revision,
        step,
        key: format!("k{revision}"),
    }
}

fn own(revision: u64, data: u64) -> Value {
    json!({"revision": revision, "data": {"revision": data}})
}

#[test]
fn the_last_write_of_an_only_writer_may_be_made_or_not_when_it_was_not_answered() {
    for (end, is_right) in [
        (own(1, 1), true),
        (own(2, 2), true),
        (own(2, 1), false),
        (own(3, 2), false),
        (Value::Null, false),
    ] {
        let mut story = Story::default();
        story.call(step(1, Step::Create), 201, own(1, 1));
        story.lose(step(2, Step::Put));
        story.end(OWN, end);
        match is_right {
            true => story.is_right(),
            false => story.is_wrong("but could be"),
        }
    }
}

#[test]
fn a_deletion_that_is_undone_and_a_restore_that_loses_data_are_found() {
    let mut story = Story::default();
    story.call(step(1, Step::Create), 201, own(1, 1));
    story.call(step(2, Step::Delete), 200, own(2, 1));
    let mut restored = Story::default();
    restored.entries.clone_from(&story.entries);
    restored.ops = story.ops;
    story.end(OWN, own(1, 1));
    story.is_wrong("but could be");

    restored.call(step(3, Step::Restore), 200, own(3, 1));
    restored.end(OWN, own(3, 0));
    restored.is_wrong("but could be");
}

#[test]
fn a_write_of_an_only_writer_that_leaves_another_revision_is_found() {
    let mut story = Story::default();
    story.call(step(1, Step::Create), 201, own(1, 1));
    story.call(step(2, Step::Merge), 200, own(3, 2));
    story.is_wrong("was answered with 3");
}
