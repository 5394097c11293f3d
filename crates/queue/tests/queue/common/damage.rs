//! Changing the keys of a queue behind its back.

use redis::{Connection, Value};
use sluice_queue::JobId;

/// Sends a command whose key is the first argument, below the root of a queue, to the node that has
/// it.
pub fn damage(node: &mut Connection, queue: &str, command: &str, key: &str, arguments: &[&str]) {
    let _: Value = redis::cmd(command)
        .arg(format!("sq1:{{{queue}}}:{key}"))
        .arg(arguments)
        .query(node)
        .unwrap();
}

/// The part of the id that keys are named by.
pub fn member(id: &JobId) -> &str {
    id.as_str().split_once('_').unwrap().1
}

/// A job as it looks when the data lost its lease while it ran.
pub fn lose_lease(node: &mut Connection, id: &JobId) {
    let key = format!("job:{}", member(id));
    damage(node, id.queue(), "ZREM", "available", &[member(id)]);
    damage(node, id.queue(), "HSET", &key, &["run", "1/t/w"]);
}

/// A job whose hash somebody deleted, and nothing else.
pub fn lose_job(node: &mut Connection, id: &JobId) {
    let key = format!("job:{}", member(id));
    damage(node, id.queue(), "DEL", &key, &[]);
}
