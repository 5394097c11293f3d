//! `sluice sync`

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use sluice_jobs::meta::{self, SyncKind};

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
    #[arg(long = "type", value_name = "TYPE", value_parser = kinds())]
    kind: SyncKind,

    #[command(flatten)]
    client: ClientSettings,
}

/// The kinds by their names, each with its help.
fn kinds() -> impl TypedValueParser<Value = SyncKind> {
    let help = |kind| match kind {
        SyncKind::AllOne => "All files; nothing when they do not fit",
        SyncKind::AllTwo => "All files that fit",
        SyncKind::MostOne => "The most active files; nothing when they do not fit",
        SyncKind::MostTwo => "The most active files that fit",
    };
    let values = SyncKind::ALL.map(|kind| PossibleValue::new(kind.as_str()).help(help(kind)));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<SyncKind>())
}

impl Sync {
    pub async fn run(self) -> Result<(), Failure> {
        let client = ApiClient::new(&self.client, &self.user)?;
        let label = format!("sync {} {}", self.user, self.kind.as_str());
        let job = meta::Sync {
            user: self.user,
            kind: self.kind,
        };
        let answer = client.run("sync", &label, &job).await?;
        output::json(&answer)
    }
}
