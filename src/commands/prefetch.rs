//! `sluice prefetch`

use clap::Args;
use sluice_jobs::meta;

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
        let client = ApiClient::new(&self.client, &self.user)?;
        let label = format!("prefetch {}", self.user);
        let job = meta::Prefetch::new(self.user, self.limit);
        let answer = client.run("prefetch", &label, &job).await?;
        output::json(&answer)
    }
}
