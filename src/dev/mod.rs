//! What `sluice dev` needs beyond the parts that other commands use too.

pub mod demo;
mod server_binary;
mod valkey;

pub use valkey::PrivateValkey;
