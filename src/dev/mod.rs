//! What `sluice dev` needs beyond the parts that other commands use too.

mod child;
mod cluster;
pub mod demo;
mod server_binary;
mod servers;
mod valkey;

pub use child::Software;
pub use servers::PrivateServers;
