//! What a server says of itself.

use std::borrow::Cow;

use redis::RedisResult;

use crate::{Repeat, Spec, Valkey};

/// What a Valkey or Redis server says of itself. Of a cluster, what holds for each of its nodes,
/// replicas too: any of them may be the one that is asked tomorrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// `valkey` or `redis`.
    pub name: String,
    /// Version of the server, such as `9.1.2`; of a cluster, the oldest one.
    pub version: String,
    /// Version of the JSON module, such as `2.8.10`, when one is loaded, by every node.
    pub json_module: Option<String>,
    /// Whether the append-only file is on, at every node.
    pub append_only: bool,
    /// The setting `maxmemory-policy`, such as `noeviction`; of a cluster, one that is not
    /// `noeviction`, if there is any.
    pub maxmemory_policy: String,
    /// Keys that were evicted since its start, by all nodes.
    pub evicted_keys: u64,
}

impl Valkey {
    /// What the server is and how it is set up.
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
        let infos: Vec<String> = self.query_nodes("info", &info).await?;
        let infos = infos.iter().map(|info| ServerInfo::parse(info));
        let all = infos.reduce(ServerInfo::and);
        Ok(all.unwrap_or_else(|| ServerInfo::parse("")))
    }

    /// The version of the JSON module, when a server has one; of a cluster, one of its primaries.
    /// For callers that must not wait for every node.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn json_module(&self) -> RedisResult<Option<String>> {
        let mut info = redis::cmd("INFO");
        info.arg("modules");
        let info: String = self.query("info", &info).await?;
        Ok(info.lines().find_map(json_module_version))
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
    /// What holds for both of two nodes.
    fn and(self, other: Self) -> Self {
        let older = |a: String, b: String| match numbers(&b) < numbers(&a) {
            true => b,
            false => a,
        };
        let is_safe = self.maxmemory_policy == "noeviction";
        let is_valkey = self.name == "valkey";
        Self {
            name: if is_valkey { other.name } else { self.name },
            version: older(self.version, other.version),
            json_module: self
                .json_module
                .zip(other.json_module)
                .map(|(a, b)| older(a, b)),
            append_only: self.append_only && other.append_only,
            maxmemory_policy: match is_safe {
                true => other.maxmemory_policy,
                false => self.maxmemory_policy,
            },
            evicted_keys: self.evicted_keys + other.evicted_keys,
        }
    }

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

/// The parts of a version, to be compared.
fn numbers(version: &str) -> Vec<u32> {
    let parts = version.split('.');
    parts.map(|part| part.parse().unwrap_or(0)).collect()
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
