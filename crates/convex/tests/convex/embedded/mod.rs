//! The Convex-compatible store over HTTP.

mod components;
mod connector;
mod data_sync;
mod deltas;
mod durability;
mod fivetran;
mod follower;
mod functions;
mod histories;
mod http;
mod import;
mod schemas;
mod server;
mod snapshot;
