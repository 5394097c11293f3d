//! `sluice doctor`

mod cache;
mod contents;
mod tail;

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use sluice_convex::files::find_functions;
use sluice_convex::{Client, ConvexError, FilesVia};
use sluice_queue::{QueueConfig, Queues};
use sluice_store::cache::CacheConfig;
use sluice_valkey::{ServerInfo, Valkey};
use url::Url;

use crate::app::open_valkey;
use crate::data_folder::DataFolder;
use crate::failure::{Context, Failure, chain};
use crate::one_line::OneLine;
use crate::output;
use crate::settings::{
    AuthSettings, CacheSettings, ConvexSettings, DataSettings, FilesSettings, ObjectSettings,
    ValkeySettings,
};

/// How long one check may take. A check is made once: what works only sometimes should show.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// Older servers lack commands that the scripts use.
const OLDEST_VALKEY: u32 = 8;

/// Check the settings and every connection, and say what to mend
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    sluice doctor                        the `sluice dev` in the data folder\n  \
    sluice doctor --config sluice.toml   what this file describes\n\n\
    Exit code 1 when a check fails. A warning is about something that works, but not as it should.")]
pub struct Doctor {
    #[command(flatten)]
    valkey: ValkeySettings,
    #[command(flatten)]
    convex: ConvexSettings,
    #[command(flatten)]
    files: FilesSettings,
    #[command(flatten)]
    auth: AuthSettings,
    #[command(flatten)]
    cache: CacheSettings,
    #[command(flatten)]
    objects: ObjectSettings,
    #[command(flatten)]
    data: DataSettings,
}

/// What has been found so far.
#[derive(Default)]
struct Findings {
    failed: u32,
}

impl Findings {
    fn ok(&self, what: &str, found: &str) {
        let found = OneLine(found);
        output::line(format_args!("ok    {what:<10} {found}"));
    }

    fn warn(&self, what: &str, found: &str, mend: &str) {
        let found = OneLine(found);
        output::line(format_args!("warn  {what:<10} {found}; {mend}"));
    }

    fn fail(&mut self, what: &str, found: &str, mend: &str) {
        self.failed += 1;
        let found = OneLine(found);
        output::line(format_args!("fail  {what:<10} {found}; {mend}"));
    }
}

impl Doctor {
    pub async fn run(self) -> Result<(), Failure> {
        let mut findings = Findings::default();
        let folder = DataFolder::at(&self.data.data);
        let running = folder.addresses();
        match &running {
            Some(addresses) => findings.ok(
                "dev",
                &format!(
                    "a `sluice dev` runs in {}: {}",
                    self.data.data.display(),
                    addresses.api
                ),
            ),
            None => findings.ok(
                "dev",
                "none runs in the data folder; the settings alone count",
            ),
        }
        findings.ok(
            "limits",
            &format!(
                "{} bytes a set for {} s, single entries for {} s",
                self.cache.sync_limit_bytes, self.cache.sync_ttl_secs, self.cache.entry_ttl_secs
            ),
        );

        match self.valkey.or(running.as_ref()).address() {
            Ok(address) => {
                let valkey = open_valkey(address, 1);
                check_valkey(&mut findings, &valkey, self.cache.config()).await;
            }
            Err(failure) => {
                findings.fail("valkey", &failure.to_string(), "nothing works without it")
            }
        }
        match self.convex.or(running.as_ref()).client() {
            Ok(client) => check_convex(&mut findings, &client, self.files.via()).await,
            Err(failure) => findings.fail(
                "convex",
                &failure.to_string(),
                "nothing can be synced without it",
            ),
        }
        // A `sluice dev` keeps them in its folder.
        if running.is_none() || self.objects.objects_url.is_some() {
            contents::check(&mut findings, &self.objects).await;
        }
        let mut auth = self.auth;
        if running.is_some() && auth.dev.dev_secret.is_none() {
            auth.dev.dev_secret = folder.existing_dev_secret();
        }
        check_auth(&mut findings, &auth).await;

        match findings.failed {
            0 => Ok(()),
            1 => Err(Failure::new("1 check failed")),
            many => Err(Failure::new(format!("{many} checks failed"))),
        }
    }
}

async fn check_valkey(findings: &mut Findings, valkey: &Valkey, config: CacheConfig) {
    let server = match tokio::time::timeout(CHECK_LIMIT, valkey.server()).await {
        Ok(Ok(server)) => server,
        Ok(Err(error)) => {
            return findings.fail(
                "valkey",
                &chain(&error),
                "check SLUICE_VALKEY_URL and that it runs",
            );
        }
        Err(_) => {
            return findings.fail(
                "valkey",
                "no answer within 10 s",
                "check SLUICE_VALKEY_URL and the network",
            );
        }
    };
    check_writes(findings, valkey).await;
    cache::check(findings, valkey, config).await;
    tail::check(findings, valkey).await;
    let ServerInfo {
        name,
        version,
        json_module,
        append_only,
        maxmemory_policy,
        evicted_keys,
    } = server;
    let found = format!("{name} {version}");
    let major: u32 = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok())
        .unwrap_or(0);
    if name != "valkey" {
        findings.warn(
            "valkey",
            &found,
            "documents are tested with Redis 7, the rest with Valkey only",
        );
    } else if major < OLDEST_VALKEY {
        findings.fail("valkey", &found, "install version 8 or later");
    } else {
        findings.ok("valkey", &found);
    }
    if append_only {
        findings.ok("durability", "the append-only file is on");
    } else {
        findings.warn(
            "durability",
            "the append-only file is off",
            "a restart loses jobs; `CONFIG SET appendonly yes`, then the same in its configuration",
        );
    }
    if maxmemory_policy == "noeviction" && evicted_keys == 0 {
        findings.ok("memory", "nothing is evicted");
    } else if maxmemory_policy == "noeviction" {
        findings.warn(
            "memory",
            &format!("{evicted_keys} keys were evicted before maxmemory-policy was noeviction"),
            "jobs and documents may be gone; a restart of the server begins the count anew",
        );
    } else {
        findings.fail(
            "memory",
            &format!("maxmemory-policy is {maxmemory_policy}, which may evict jobs"),
            "set it to noeviction",
        );
    }
    match json_module {
        Some(version) => findings.ok("json", &format!("module version {version}")),
        None => findings.warn(
            "json",
            "the JSON module is not loaded, documents answer 503 json_module_missing",
            "start the server with `loadmodule /path/to/rejson.so` (RedisJSON) in its configuration; Sluice notices by itself",
        ),
    }
}

/// Whether Valkey takes writes, and events arrive.
async fn check_writes(findings: &mut Findings, valkey: &Valkey) {
    let asked = async {
        let queues = Queues::open(valkey, QueueConfig::default()).await?;
        queues.ready().await
    };
    match tokio::time::timeout(CHECK_LIMIT, asked).await {
        Ok(Ok(())) => findings.ok("writes", "Valkey takes writes, and its events arrive"),
        Ok(Err(error)) => findings.fail(
            "writes",
            &chain(&error),
            "cached entries are served, nothing else works; see docs/operating.md",
        ),
        Err(_) => findings.fail("writes", "no answer within 10 s", "check Valkey"),
    }
}

async fn check_convex(findings: &mut Findings, client: &Client, via: FilesVia) {
    match tokio::time::timeout(CHECK_LIMIT, client.json_schemas()).await {
        Ok(Ok(schemas)) if schemas.get("files").is_some() => {
            findings.ok("convex", "reached and authorised; it has a table `files`");
        }
        Ok(Ok(_)) => findings.warn(
            "convex",
            "reached and authorised, but it has no table `files`",
            "import something, or check that it is the right deployment",
        ),
        Ok(Err(error @ (ConvexError::Unauthorized { .. } | ConvexError::Forbidden { .. }))) => {
            return findings.fail("convex", &chain(&error), "check SLUICE_CONVEX_KEY");
        }
        Ok(Err(error)) => {
            return findings.fail(
                "convex",
                &chain(&error),
                "check SLUICE_CONVEX_URL and that it runs",
            );
        }
        Err(_) => {
            return findings.fail(
                "convex",
                "no answer within 10 s",
                "check SLUICE_CONVEX_URL and the network",
            );
        }
    }
    check_reader(findings, client, via).await;
}

/// Which way a user's files are read. Tells it for the setting `auto`; the other two are what they
/// say.
async fn check_reader(findings: &mut Findings, client: &Client, via: FilesVia) {
    if via == FilesVia::Export {
        return findings.ok(
            "files",
            "read through the streaming export, as files_via says",
        );
    }
    match tokio::time::timeout(CHECK_LIMIT, find_functions(client)).await {
        Ok(Ok(())) => findings.ok("files", "read through the deployed functions, by index"),
        Ok(Err(ConvexError::FunctionMissing { .. })) if via == FilesVia::Auto => findings.warn(
            "files",
            "read through the streaming export, which reads the whole table",
            "deploy crates/convex/functions",
        ),
        Ok(Err(error @ ConvexError::ForeignFunction { .. })) if via == FilesVia::Auto => findings
            .warn(
                "files",
                &format!("read through the streaming export: {}", chain(&error)),
                "deploy crates/convex/functions, or set SLUICE_FILES_VIA to export",
            ),
        Ok(Err(error)) => findings.fail(
            "files",
            &chain(&error),
            "deploy crates/convex/functions, or set SLUICE_FILES_VIA to export",
        ),
        Err(_) => findings.fail("files", "no answer within 10 s", "check the deployment"),
    }
}

async fn check_auth(findings: &mut Findings, auth: &AuthSettings) {
    if let Err(failure) = auth.auth() {
        return findings.fail(
            "auth",
            &failure.to_string(),
            "the API does not start without it",
        );
    }
    if let Some(url) = &auth.jwks_url {
        match count_keys(url).await {
            Ok(0) => findings.fail(
                "auth",
                &format!("{} has no keys", shown(url)),
                "check SLUICE_JWKS_URL",
            ),
            Ok(keys) => findings.ok("auth", &format!("{keys} keys at {}", shown(url))),
            Err(failure) => findings.fail("auth", &failure.to_string(), "check SLUICE_JWKS_URL"),
        }
    }
    match (&auth.dev.dev_secret, &auth.jwks_url) {
        (Some(_), Some(_)) => findings.warn(
            "auth",
            "there are development tokens beside the issuer's, which `sluice serve` refuses",
            "unset SLUICE_DEV_SECRET in production",
        ),
        (Some(_), None) => findings.ok("auth", "development tokens, see `sluice token`"),
        (None, _) => {}
    }
}

/// An address without the parts that may hold a secret.
fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// How many keys the issuer publishes.
async fn count_keys(url: &Url) -> Result<usize, Failure> {
    let doing = format!("cannot read the keys at {}", shown(url));
    let ask = async {
        let client = reqwest::Client::builder().timeout(CHECK_LIMIT).build()?;
        let answer = client.get(url.clone()).send().await?.error_for_status()?;
        answer.json::<Value>().await
    };
    let keys = ask
        .await
        .map_err(reqwest::Error::without_url)
        .context(doing)?;
    Ok(keys["keys"].as_array().map_or(0, Vec::len))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        let url = Url::parse("https://user:pass@issuer.example:8443/jwks?key=s3cret#x").unwrap();
        assert_eq!(shown(&url), "https://issuer.example:8443/jwks");
    }
}
