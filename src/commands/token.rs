//! `sluice token`

use std::time::Duration;

use clap::Args;
use sluice_api::auth::{DEFAULT_TENANT, Identity, Scope, mint};

use crate::data_folder::DataFolder;
use crate::failure::{Context, Failure};
use crate::output;
use crate::settings::{DataSettings, DevSecretSettings};

/// Mint a development token
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    sluice token --user usr_demo1\n  \
    sluice token --user ops --scope meta:read --scope meta:write --ttl 8h\n  \
    sluice token --user ann --tenant acme --group staff --scope files:read --scope files:write\n  \
    curl -H \"Authorization: Bearer $(sluice token --user usr_demo1)\" http://127.0.0.1:8080/api/v1/meta\n\n\
    It is signed with SLUICE_DEV_SECRET or, without it, the secret of the `sluice dev` in the data folder.")]
pub struct Token {
    /// The user it speaks for (`sub`), who may read their own entries without any scope
    #[arg(long, value_name = "USER", value_parser = crate::settings::user)]
    user: String,

    /// The tenant that the user belongs to in file sync (`tenant_id`)
    #[arg(long, value_name = "TENANT", default_value = DEFAULT_TENANT, value_parser = crate::settings::tenant)]
    tenant: String,

    /// A group that the user belongs to in file sync (`groups`); may be given several times
    #[arg(long = "group", value_name = "GROUP", value_parser = crate::settings::group)]
    groups: Vec<String>,

    /// What else it allows: meta:read, meta:write, docs:read, docs:write, `docs:write:<service>`,
    /// files:read, files:write, tenant:admin, admin or admin:read; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,

    /// How long it is valid, such as 30m or 12h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,

    #[command(flatten)]
    secret: DevSecretSettings,

    #[command(flatten)]
    data: DataSettings,
}

impl Token {
    pub fn run(self) -> Result<(), Failure> {
        let folder = DataFolder::at(&self.data.data);
        let secret = self
            .secret
            .dev_secret
            .or_else(|| folder.existing_dev_secret())
            .ok_or_else(|| {
                Failure::new(format!(
                    "there is no secret in {}",
                    self.data.data.display()
                ))
                .hint("start `sluice dev` once, or set SLUICE_DEV_SECRET to that of the API")
            })?;
        let identity = Identity {
            user: &self.user,
            tenant: &self.tenant,
            groups: &self.groups,
        };
        let token = mint(secret.expose(), identity, &self.scopes, self.ttl)
            .context("cannot mint a token")?;
        output::line(token);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        token: Token,
    }

    #[test]
    fn the_help_names_every_scope() {
        let help = Line::command().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let services = Scope::DocsWriteTo("<service>".into());
        for scope in Scope::ALL.iter().chain([&services]) {
            assert!(
                help.contains(&format!("{scope}")),
                "{scope} is missing in {help}"
            );
        }
        assert!(help.contains("docs:write, "), "{help}");
    }
}
