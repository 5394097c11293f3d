//! `sluice invalidate`

use clap::{Args, ValueEnum};
use serde_json::json;

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
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Kind,

    #[command(flatten)]
    client: ClientSettings,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Kind {
    /// Log-out: the entries leave Valkey
    Out,
    /// Deleted account: they leave Valkey and Convex
    Del,
}

impl Invalidate {
    pub async fn run(self) -> Result<(), Failure> {
        let kind = self.kind.to_possible_value();
        let kind = kind.as_ref().map_or("", |value| value.get_name());
        let answer = ApiClient::new(&self.client, &self.user)?
            .run(
                "/api/v1/e/meta/invalidate",
                &format!("invalidate {} {kind}", self.user),
                &json!({ "user": self.user, "type": kind }),
            )
            .await?;
        output::line(answer);
        Ok(())
    }
}
