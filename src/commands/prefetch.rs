//! `sluice prefetch`

use clap::Args;
use serde_json::json;

use crate::client::{ApiClient, ClientSettings};
use crate::failure::Failure;
use crate::output;

/// Refresh a user's most frequently read entries
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sluice prefetch usr_demo1 --limit 100")]
pub struct Prefetch {
    /// Whose files
    user: String,

    /// How many entries at most
    #[arg(long, value_name = "N", value_parser = crate::settings::between::<1, { u32::MAX as u64 }, u32>)]
    limit: u32,

    #[command(flatten)]
    client: ClientSettings,
}

impl Prefetch {
    pub async fn run(self) -> Result<(), Failure> {
        let answer = ApiClient::new(&self.client, &self.user)?
            .run(
                "/api/v1/e/meta/prefetch",
                &format!("prefetch {}", self.user),
                &json!({ "user": self.user, "limit": self.limit }),
            )
            .await?;
        output::line(answer);
        Ok(())
    }
}
