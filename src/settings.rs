//! What can be set, one struct per concern.
//!
//! Each field is a flag of the commands that need it; its doc comment is the flag's help and its
//! `env` names the variable. `file.rs` says how the values of `sluice.toml` come in. Values are
//! checked when they are parsed, so a command that starts has valid settings; an error names the
//! setting and the rule.

mod api;
mod backends;
mod cache;
mod connections;
mod convex_store;
mod data;
mod documents;
pub mod file;
mod help;
mod http;
mod jobs;
mod log;
mod objects;
mod queues;
mod tail;
mod values;

pub use api::{ApiSettings, AuthSettings, DevSecretSettings};
pub use backends::BackendSettings;
pub use cache::CacheSettings;
pub use connections::{
    ConvexKeySettings, ConvexSettings, FilesSettings, PoolSettings, ValkeySettings,
};
pub use convex_store::ConvexStoreSettings;
pub use data::DataSettings;
pub use documents::DocumentSettings;
pub use http::HttpSettings;
pub use jobs::JobSettings;
pub use log::{LogFormat, LogSettings};
pub use objects::ObjectSettings;
pub use queues::QueueSettings;
pub use tail::TailSettings;
pub use values::{between, group, listen, tenant, user};
