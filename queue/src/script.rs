//! The scripts, one for each transition, as they are sent to Valkey.

use crate::keys::{Retention, lua_constants};

/// One script and its SHA-1, which is all that is sent once the server knows it.
pub(crate) struct Script {
    pub name: &'static str,
    pub source: String,
    pub sha: String,
}

macro_rules! scripts {
    ($($name:ident),+) => {
        /// The scripts of a queue; each is headed by its KEYS, ARGV, return value and cost in `lua/queue/`.
        pub(crate) struct Scripts { $(pub $name: Script),+ }

        impl Scripts {
            pub fn new(retention: &Retention) -> Self {
                let constants = lua_constants(retention);
                Self { $($name: script(
                    stringify!($name),
                    &constants,
                    include_str!(concat!("../../lua/queue/", stringify!($name), ".lua")),
                )),+ }
            }
        }
    };
}

scripts!(
    enqueue, fetch, heartbeat, finish, save, cancel, retry, pause, stats
);

fn script(name: &'static str, constants: &str, body: &str) -> Script {
    let common = include_str!("../../lua/queue/common.lua");
    let source = format!("{constants}{common}{body}");
    let sha = redis::Script::new(&source).get_hash().to_owned();
    Script { name, source, sha }
}
