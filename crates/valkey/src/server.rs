//! What a server says of itself.

use std::borrow::Cow;

use redis::RedisResult;

use crate::{Repeat, Spec, Valkey};

/// What a Valkey or Redis server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// `valkey` or `redis`.
    pub name: String,
    /// Version of the server, such as `9.1.2`.
    pub version: String,
    /// Version of the JSON module, such as `2.8.10`, when one is loaded.
    pub json_module: Option<String>,
    /// Whether the append-only file is on.
    pub append_only: bool,
    /// The setting `maxmemory-policy`, such as `noeviction`.
    pub maxmemory_policy: String,
    /// Keys that were evicted since its start.
    pub evicted_keys: u64,
}

impl Valkey {
    /// What the server is and how it is set up; of a cluster's nodes, the first one.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn server(&self) -> RedisResult<ServerInfo> {
        let mut info = redis::cmd("INFO");
        info.arg("server")
            .arg("memory")
            .arg("persistence")
            .arg("stats")
            .arg("modules");
        let infos: Vec<String> = self.query_primaries(&info).await?;
        let mut infos = infos.iter().map(|info| ServerInfo::parse(info));
        let mut first = infos.next().unwrap_or_else(|| ServerInfo::parse(""));
        first.evicted_keys += infos.map(|info| info.evicted_keys).sum::<u64>();
        Ok(first)
    }

    /// Asks for a sign of life, once.
    ///
    /// # Errors
    /// When there is none.
    pub async fn ping(&self) -> RedisResult<()> {
        let spec = Spec {
            repeat: Repeat::Never,
            ..Spec::command("ping")
        };
        let ping = redis::cmd("PING");
        let _: String = self.call(spec, |_| Cow::Borrowed(&ping)).await?;
        Ok(())
    }
}

impl ServerInfo {
    fn parse(info: &str) -> ServerInfo {
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
        };
        let valkey = field("valkey_version");
        ServerInfo {
            name: if valkey.is_some() { "valkey" } else { "redis" }.into(),
            version: valkey
                .or_else(|| field("redis_version"))
                .unwrap_or_default()
                .into(),
            json_module: info.lines().find_map(json_module_version),
            append_only: field("aof_enabled") == Some("1"),
            maxmemory_policy: field("maxmemory_policy").unwrap_or_default().into(),
            evicted_keys: field("evicted_keys")
                .and_then(|keys| keys.parse().ok())
                .unwrap_or(0),
        }
    }
}

/// The version in a line such as `module:name=ReJSON,ver=20810,…`; a module numbers it major *
/// 10000 + minor * 100 + patch.
fn json_module_version(line: &str) -> Option<String> {
    let fields = line.trim_end().strip_prefix("module:")?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    };
    // RedisJSON calls itself ReJSON, Valkey's own module json.
    if !matches!(field("name"), Some("ReJSON" | "json")) {
        return None;
    }
    let number: u32 = field("ver")?.parse().ok()?;
    Some(format!(
        "{}.{}.{}",
        number / 10_000,
        number / 100 % 100,
        number % 100
    ))
}
