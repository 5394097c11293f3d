//! The functions, one for each transition, as Valkey keeps them.

use sluice_valkey::{Function, Library};

use crate::calls::METRICS;
use crate::keys::{Retention, lua_constants};

/// What the functions share, in this order.
const SHARED: [&str; 8] = [
    include_str!("../lua/head.lua"),
    include_str!("../lua/marks.lua"),
    include_str!("../lua/common.lua"),
    include_str!("../lua/links.lua"),
    include_str!("../lua/rates.lua"),
    include_str!("../lua/reconcile.lua"),
    include_str!("../lua/operations.lua"),
    include_str!("../lua/filter.lua"),
];

macro_rules! scripts {
    ($($name:ident),+ $(,)?) => {
        /// The functions of a queue; each is headed by its KEYS, ARGV, return value and cost in
        /// `lua/queue/`.
        pub(crate) struct Scripts {
            $(pub $name: Function,)+
            /// As `enqueue`, also while the server's memory is full.
            pub enqueue_when_full: Function,
        }

        impl Scripts {
            pub fn new(retention: &Retention) -> Self {
                let bodies = [$(include_str!(concat!("../lua/", stringify!($name), ".lua"))),+];
                let constants = lua_constants(retention);
                let shared: Vec<&str> = [&*constants].into_iter().chain(SHARED).collect();
                let library = Library::new("sluice_queue", &shared, &bodies);
                let script = |name| {
                    METRICS.announce(name);
                    library.function(name)
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
    history, search, undo, beat, processes, signal, schedules, schedule_put, schedule_pass, schedule_pause,
    audit, audited,
}
