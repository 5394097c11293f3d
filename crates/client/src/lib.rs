//! The API of Sluice as a Rust library: jobs, shares, devices and changes of file sync, contents in
//! and out, and nudges.
//!
//! A [`Client`] is cheap to clone and to be used by many tasks. Each call has a limit of time and is
//! made again, with pauses that grow and vary, while the API cannot be reached or says to come
//! again; calls that change something carry ids by which the API knows a repetition. It depends on
//! no other part of the server: the structs of [`types`] are the contract as a client reads it.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sluice_client::{Client, ClientConfig};
//!
//! let api = "http://127.0.0.1:8080".parse()?;
//! let client = Client::new(ClientConfig::new(api, || "token".to_owned()))?;
//! for share in client.shares().await? {
//!     println!("{} {}", share.id, share.name);
//! }
//! # Ok(())
//! # }
//! ```

mod client;
mod download;
mod error;
mod hex;
mod jobs;
mod nudges;
mod sync;
pub mod types;
mod upload;

pub use client::{Client, ClientConfig};
pub use download::Content;
pub use error::{ClientError, Refusal};
pub use hex::hex;
pub use jobs::Submitted;
pub use nudges::{Nudge, Nudges};
pub use sync::{Apply, ChangesFrom};
pub use upload::NewContent;
