//! File sync against what it cannot be faster than: bare axum routes with the same Valkey, the same
//! disk and the same load, in the same run.
//!
//! | part | measured | the bare route |
//! |---|---|---|
//! | `apply` | one change from each of 64 connections | one call of the same function |
//! | `changes` | pages of 1,000 of a share's log | one `XRANGE` |
//! | `transfers` | contents of 64 MiB up and down | a file that is written and synced, or read |
//! | `sockets` | the time from a change to its frame at 1, 1,000 and 10,000 sockets | the same call, and a broadcaster of what it publishes |
//! | `log` | pages, changes and memory with 10 million entries | the same with few |
//!
//! Arguments choose the parts; without one all are measured but `log`, which takes some GB of memory.
//! `SLUICE_BENCH_ROUNDS` sets how many rounds there are (5), `SLUICE_BENCH_SECONDS` how long those of
//! requests are (1).
#![allow(clippy::unwrap_used, missing_docs)]

mod bare;
#[path = "../common/bare_process.rs"]
mod bare_process;
#[path = "../../tests/e2e/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "../common/idle.rs"]
#[allow(dead_code)]
mod idle;
#[path = "../common/load.rs"]
mod load;
mod log;
mod parts;
mod sockets;
mod transfers;
#[path = "../common/turns.rs"]
mod turns;

use std::time::Duration;

use mimalloc::MiMalloc;
use parts::Parts;

/// The bare routes have the allocator that the API has.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if bare_process::is_asked_for() {
        return runtime.block_on(bare::serve());
    }
    let setting = |name: &str, default: f64| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap())
    };
    let rounds = setting("SLUICE_BENCH_ROUNDS", 5.0) as usize;
    let length = Duration::from_secs_f64(setting("SLUICE_BENCH_SECONDS", 1.0));
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let wanted: Vec<String> = wanted
        .into_iter()
        .filter(|it| !it.starts_with('-'))
        .collect();
    let is_wanted = |part: &str| wanted.iter().any(|it| it == part);
    let is_default = |part: &str| wanted.is_empty() || is_wanted(part);
    runtime.block_on(async {
        let parts = Parts::start().await;
        if is_default("apply") || is_default("changes") {
            load::head();
        }
        if is_default("apply") {
            parts.apply((rounds, length)).await;
        }
        if is_default("changes") {
            parts.changes((rounds, length)).await;
        }
        if is_default("transfers") {
            transfers::measure(&parts, rounds).await;
        }
        if is_default("sockets") {
            sockets::measure(&parts, rounds).await;
        }
        if is_wanted("log") {
            log::measure(&parts, (rounds, length)).await;
        }
    });
}
