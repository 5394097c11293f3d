//! Documents against a real Valkey with the JSON module.

mod accepted;
mod budget;
mod concurrency;
mod events;
mod facts;
mod faults;
mod in_place;
mod list;
mod lives;
mod model;
mod mutations;
mod numbers;
mod purge;
mod support;
mod writes;
