//! The queue against a real Valkey and a real cluster, with workers in processes of their own where
//! they are killed.
#![allow(clippy::unwrap_used)]

mod absence;
mod backlog;
mod batches;
mod bulk;
mod cancelling;
mod chains;
mod cluster;
mod common;
mod enqueue;
mod examples;
mod fencing;
mod groups;
mod idempotency;
mod idle;
mod killing;
mod limits;
mod log;
mod operate;
mod operators;
mod outages;
mod pause;
mod rates;
mod reconcile;
mod reconcile_cluster;
mod recovery;
mod retries;
mod running;
mod scheduling;
mod stopping;
mod storage;
mod unique;
mod versions;
mod waking;
