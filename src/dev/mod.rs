//! What `sluice dev` needs beyond the parts that other commands use too.

mod cluster;
pub mod demo;
mod server_binary;
mod servers;
mod valkey;

pub use servers::PrivateServers;
pub use valkey::Software;
