//! One file per command.

pub mod convex;
pub mod dev;
pub mod doctor;
pub mod import;
pub mod invalidate;
pub mod jobs;
pub mod mirror;
pub mod prefetch;
pub mod queues;
pub mod schedules;
pub mod serve;
pub mod sync;
pub mod token;
pub mod work;
pub mod workers;

use crate::client::{ApiClient, ClientSettings};
use crate::failure::Failure;

/// On whose behalf an operator's token is minted.
const OPERATOR: &str = "operator";

/// A caller of the API for an operator.
fn operator(settings: &ClientSettings) -> Result<ApiClient, Failure> {
    ApiClient::new(settings, OPERATOR)
}
