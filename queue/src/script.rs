//! The scripts, one for each transition, as they are sent to Valkey.

use crate::keys::{Retention, lua_constants};

/// One script and its SHA-1, which is all that is sent once the server knows it.
pub(crate) struct Script {
    pub name: &'static str,
    pub source: String,
    pub sha: String,
}

macro_rules! scripts {
    ($($name:ident: [$($part:literal),+]),+ $(,)?) => {
        /// The scripts of a queue; each is headed by its KEYS, ARGV, return value and cost in `lua/queue/`.
        pub(crate) struct Scripts { $(pub $name: Script),+ }

        impl Scripts {
            pub fn new(retention: &Retention) -> Self {
                let constants = lua_constants(retention);
                Self { $($name: script(
                    stringify!($name),
                    &constants,
                    concat!($(include_str!(concat!("../../lua/queue/", $part, ".lua"))),+),
                )),+ }
            }
        }
    };
}

scripts! {
    enqueue: ["head", "common", "enqueue"],
    fetch: ["head", "common", "links", "rates", "reconcile", "fetch"],
    heartbeat: ["head", "common", "heartbeat"],
    finish: ["head", "common", "links", "finish"],
    save: ["head", "common", "save"],
    log: ["head", "common", "log"],
    operate: ["head", "common", "links", "operations", "operate"],
    sweep: ["head", "common", "links", "operations", "sweep"],
    pause: ["head", "common", "pause"],
    limit: ["head", "common", "limit"],
    rate: ["head", "common", "rate"],
    close: ["head", "common", "links", "close"],
    stats: ["head", "common", "stats"],
}

fn script(name: &'static str, constants: &str, body: &str) -> Script {
    let source = format!("{constants}{body}");
    let sha = redis::Script::new(&source).get_hash().to_owned();
    Script { name, source, sha }
}
