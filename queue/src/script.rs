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
    enqueue: ["head", "rates", "common", "enqueue"],
    fetch: ["head", "rates", "common", "links", "reconcile", "fetch"],
    heartbeat: ["head", "rates", "common", "heartbeat"],
    finish: ["head", "rates", "common", "links", "finish"],
    save: ["head", "rates", "common", "save"],
    log: ["head", "rates", "common", "log"],
    operate: ["head", "rates", "common", "links", "operations", "operate"],
    sweep: ["head", "rates", "common", "links", "operations", "sweep"],
    pause: ["head", "rates", "common", "pause"],
    limit: ["head", "rates", "common", "limit"],
    rate: ["head", "rates", "common", "rate"],
    close: ["head", "rates", "common", "links", "close"],
    stats: ["head", "rates", "common", "stats"],
}

fn script(name: &'static str, constants: &str, body: &str) -> Script {
    let source = format!("{constants}{body}");
    let sha = redis::Script::new(&source).get_hash().to_owned();
    Script { name, source, sha }
}
