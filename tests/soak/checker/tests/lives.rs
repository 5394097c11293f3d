//! A document that expires and is created again, and its watchers.

use serde_json::{Value, json};

use super::{SHARED, Story};
use crate::call::Call;

fn born(life: &str) -> Story {
    let mut story = Story::default();
    let call = Call::Live {
        document: SHARED.to_owned(),
        life: life.to_owned(),
        until: 1,
        key: life.to_owned(),
    };
    story.call(call, 201, at(life, 1));
    story
}

fn at(life: &str, revision: u64) -> Value {
    json!({"revision": revision, "data": {"life": life}})
}

#[test]
fn a_new_life_may_follow_the_end_of_the_last_one_or_a_reset() {
    let mut story = born("a");
    story.see("present", at("a", 1));
    story.see("change", at("a", 2));
    story.see("gone", Value::Null);
    story.see("present", at("b", 1));
    story.see("reset", at("c", 1));
    story.see("change", at("c", 2));
    story.is_right();
}

#[test]
fn a_change_of_another_life_is_found() {
    let mut story = born("a");
    story.see("present", at("a", 1));
    story.see("change", at("b", 2));
    story.is_wrong("w: change");
}

#[test]
fn a_change_after_the_end_is_found() {
    let mut story = born("a");
    story.see("present", at("a", 1));
    story.see("gone", Value::Null);
    story.see("change", at("a", 2));
    story.is_wrong("w: change");
}
