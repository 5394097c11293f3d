//! `sluice invalidate`

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use sluice_jobs::meta::{self, InvalidateKind};

use crate::client::{ApiClient, ClientSettings};
use crate::failure::Failure;
use crate::output;

/// Drop a user's entries from Valkey, and from Convex when the account is deleted
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    sluice invalidate usr_demo1 --type OUT\n  \
    sluice invalidate usr_demo2 --type DEL")]
pub struct Invalidate {
    /// Whose entries
    user: String,

    /// Why: it decides whether Convex is touched
    #[arg(long = "type", value_name = "TYPE", value_parser = kinds())]
    kind: InvalidateKind,

    #[command(flatten)]
    client: ClientSettings,
}

/// The kinds by their names, each with its help.
fn kinds() -> impl TypedValueParser<Value = InvalidateKind> {
    let help = |kind| match kind {
        InvalidateKind::Out => "Log-out: the entries leave Valkey",
        InvalidateKind::Del => "Deleted account: they leave Valkey and Convex",
    };
    let values = InvalidateKind::ALL.map(|kind| PossibleValue::new(kind.as_str()).help(help(kind)));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<InvalidateKind>())
}

impl Invalidate {
    pub async fn run(self) -> Result<(), Failure> {
        let client = ApiClient::new(&self.client, &self.user)?;
        let label = format!("invalidate {} {}", self.user, self.kind.as_str());
        let job = meta::Invalidate {
            user: self.user,
            kind: self.kind,
        };
        let answer = client.run("invalidate", &label, &job).await?;
        output::json(&answer)
    }
}
