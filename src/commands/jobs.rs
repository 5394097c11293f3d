//! `sluice jobs`

use clap::Args;
use sluice_queue::JobId;

use crate::client::{ApiClient, ClientSettings};
use crate::failure::Failure;
use crate::output;

/// On whose behalf an operator's token is minted.
const OPERATOR: &str = "operator";

/// Show a job: state, progress, attempts, result or error
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sluice jobs sync_01jd3v3s2n3wq5s9m1x6r0e8kz")]
pub struct Jobs {
    /// The job's id
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    client: ClientSettings,
}

impl Jobs {
    pub async fn run(self) -> Result<(), Failure> {
        JobId::parse(&self.id).map_err(|_| {
            Failure::new(format!(
                "{:?} is not a job's id such as sync_01jd3v3s2n3wq5s9m1x6r0e8kz; the board at /board lists jobs",
                self.id
            ))
        })?;
        let job = ApiClient::new(&self.client, OPERATOR)?
            .job(&self.id)
            .await?;
        output::line(job);
        Ok(())
    }
}
