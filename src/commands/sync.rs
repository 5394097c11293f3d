//! `sluice sync`

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::client::{ApiClient, ClientSettings};
use crate::failure::Failure;
use crate::output;

/// Load a user's metadata into Valkey as one set
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    sluice sync usr_demo1 --type allTwo\n  \
    SLUICE_TOKEN=… sluice sync usr_1 --type mostOne --api https://sluice.example.com\n\n\
    The answer is JSON on standard output; progress goes to standard error.")]
pub struct Sync {
    /// Whose files
    user: String,

    /// Which files, and what happens over the limit
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Kind,

    #[command(flatten)]
    client: ClientSettings,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "camelCase")]
enum Kind {
    /// All files; nothing when they do not fit
    AllOne,
    /// All files that fit
    AllTwo,
    /// The most active files; nothing when they do not fit
    MostOne,
    /// The most active files that fit
    MostTwo,
}

impl Sync {
    pub async fn run(self) -> Result<(), Failure> {
        let kind = self.kind.to_possible_value();
        let kind = kind.as_ref().map_or("", |value| value.get_name());
        let answer = ApiClient::new(&self.client, &self.user)?
            .run(
                "/api/v1/e/meta/sync",
                &format!("sync {} {kind}", self.user),
                &json!({ "user": self.user, "type": kind }),
            )
            .await?;
        output::line(answer);
        Ok(())
    }
}
