//! The functions, one for each transition, as Valkey keeps them.

use std::fmt::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::keys::{Retention, lua_constants};

/// One function, which the server knows once it has loaded its library.
pub(crate) struct Script {
    /// What it does, as metrics show it.
    pub name: &'static str,
    /// What the server calls it.
    pub function: String,
    /// The text that has it, and all others.
    pub library: Arc<str>,
}

/// What the functions share, in this order. The server builds it once, when it loads the library;
/// scripts that are sent by their text would build it at each run.
const SHARED: [&str; 6] = [
    include_str!("../lua/head.lua"),
    include_str!("../lua/common.lua"),
    include_str!("../lua/links.lua"),
    include_str!("../lua/rates.lua"),
    include_str!("../lua/reconcile.lua"),
    include_str!("../lua/operations.lua"),
];

macro_rules! scripts {
    ($($name:ident),+ $(,)?) => {
        /// The functions of a queue; each is headed by its KEYS, ARGV, return value and cost in
        /// `lua/queue/`.
        pub(crate) struct Scripts {
            $(pub $name: Script,)+
            /// As `enqueue`, also while the server's memory is full.
            pub enqueue_when_full: Script,
        }

        impl Scripts {
            pub fn new(retention: &Retention) -> Self {
                let bodies = [$(include_str!(concat!("../lua/", stringify!($name), ".lua"))),+];
                let (prefix, library) = library(retention, &bodies);
                let script = |name| {
                    metrics::counter!("sluice_queue_command_retries_total", "command" => name)
                        .increment(0);
                    Script {
                        name,
                        function: format!("{prefix}_{name}"),
                        library: library.clone(),
                    }
                };
                Self {
                    $($name: script(stringify!($name)),)+
                    enqueue_when_full: script("enqueue_when_full"),
                }
            }
        }
    };
}

scripts! {
    enqueue, fetch, heartbeat, finish, save, log, operate, sweep, pause, limit, rate, close, stats, watch,
}

/// The text of the library, and its name, with which the names of its functions begin. It is named
/// after what is in it, so that processes of different versions do not replace each other's.
fn library(retention: &Retention, bodies: &[&str]) -> (String, Arc<str>) {
    let mut text = lua_constants(retention) + &SHARED.concat();
    for body in bodies {
        // Its own local names stay its own.
        let _ = write!(text, "do\n{body}end\n");
    }
    let digest = Sha256::digest(&text);
    let digest: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = format!("sluice_queue_{digest}");
    let library = format!("#!lua name={name}\nlocal LIBRARY = '{name}'\n{text}");
    (name, library.into())
}
