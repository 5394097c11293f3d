use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::{Manager, Pool, Runtime};
use redis::aio::ConnectionLike;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisResult,
    ServerErrorKind,
};

use sluice_valkey::{Address, Fault, reach};

use crate::StoreError;
use crate::lanes::Lanes;

/// Longest wait for the answer to one command. No script runs for long; this is for a server that
/// is gone or hangs.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a new connection, and for a free place in the pool.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A command is sent at most this often …
const ATTEMPTS: u32 = 7;
/// … and not again once this much time has gone by since it was first sent.
const RETRY_LIMIT: Duration = Duration::from_secs(15);
/// The pause before the second attempt, which doubles from then on. Together they outlast a restart
/// of the server.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// A pool of Valkey connections plus what every surface needs of it. Cheap to clone.
#[derive(Clone)]
pub struct Valkey {
    pool: Pool,
    client: Arc<Client>,
    /// Shared connections, once [`Valkey::shared`] was asked for.
    lanes: Option<Arc<Lanes>>,
}

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
    /// Prepares a pool of at most `pool_size` connections to `url`, which has a form that
    /// [`Address::parse`] reads; they are opened as they are needed.
    ///
    /// # Errors
    /// [`StoreError::Address`] when the URL is malformed. The message does not repeat it, since it
    /// may hold a password.
    pub fn open(url: &str, pool_size: usize) -> Result<Valkey, StoreError> {
        Self::open_at(&Address::parse(url)?, pool_size)
    }

    /// As [`Valkey::open`], at an address that brings its own certificates. Of a cluster's nodes
    /// the first one is used.
    ///
    /// # Errors
    /// [`StoreError::Config`] for a pool of no connections.
    pub fn open_at(address: &Address, pool_size: usize) -> Result<Valkey, StoreError> {
        let client = address.node(0).clone();
        let manager = Manager::new_with_config(client.get_connection_info().clone(), config())?;
        let pool = Pool::builder(manager)
            .max_size(pool_size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .map_err(|error| StoreError::Config(format!("the Valkey pool: {error}")))?;
        Ok(Valkey {
            pool,
            client: Arc::new(client),
            lanes: None,
        })
    }

    /// The same server over a few connections that all tasks share, instead of one from the pool
    /// for each command: for many small commands, not for bulk.
    pub(crate) fn shared(mut self) -> Valkey {
        let lanes = Lanes::new(&self.client, config());
        self.lanes = Some(Arc::new(lanes));
        self
    }

    /// The pool itself.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Opens connections beside the pool, for subscriptions.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Asks the server for a sign of life, once.
    ///
    /// # Errors
    /// When no connection is to be had or the server does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.get().await?;
        Ok(redis::cmd("PING").exec_async(&mut connection).await?)
    }

    /// What the server is and how it is set up.
    ///
    /// # Errors
    /// As [`Valkey::ping`].
    pub async fn server(&self) -> Result<ServerInfo, StoreError> {
        let mut connection = self.pool.get().await?;
        let info: String = redis::cmd("INFO")
            .arg("server")
            .arg("memory")
            .arg("persistence")
            .arg("stats")
            .arg("modules")
            .query_async(&mut connection)
            .await?;
        Ok(ServerInfo::parse(&info))
    }

    /// Sends a command that may be repeated, and sends it again, up to [`ATTEMPTS`] and
    /// [`RETRY_LIMIT`], when the connection fails or the server is not ready. `name` is what the
    /// metrics call it; `script` the text of what an `EVALSHA` calls.
    pub(crate) async fn query<T: FromRedisValue>(
        &self,
        name: &'static str,
        cmd: &Cmd,
        script: Option<&str>,
    ) -> Result<T, StoreError> {
        self.repeat(name, Request::One(cmd), script, Fault::is_brief)
            .await
    }

    /// As [`Valkey::query`], many commands in one round trip. Each may be repeated, also when
    /// another one failed.
    pub(crate) async fn query_all<T: FromRedisValue>(
        &self,
        name: &'static str,
        commands: &Pipeline,
        script: Option<&str>,
    ) -> Result<T, StoreError> {
        self.repeat(name, Request::Many(commands), script, Fault::is_brief)
            .await
    }

    /// As [`Valkey::query`]; `None`, without a further attempt, when the server takes no writes.
    pub(crate) async fn query_if_writable<T: FromRedisValue>(
        &self,
        name: &'static str,
        cmd: &Cmd,
        script: Option<&str>,
    ) -> Result<Option<T>, StoreError> {
        let again = |fault: Fault| fault.is_brief() && !fault.refuses_writes();
        match self.repeat(name, Request::One(cmd), script, again).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.fault().is_some_and(Fault::refuses_writes) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`Valkey::query_all`], sent once.
    pub(crate) async fn query_all_once<T: FromRedisValue>(
        &self,
        name: &'static str,
        commands: &Pipeline,
        script: Option<&str>,
    ) -> Result<T, StoreError> {
        self.repeat(name, Request::Many(commands), script, |_| false)
            .await
    }

    async fn repeat<T: FromRedisValue>(
        &self,
        name: &'static str,
        request: Request<'_>,
        script: Option<&str>,
        again: impl Fn(Fault) -> bool,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let mut attempt = 1;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.send_once(name, request, script).await {
                Ok(value) => {
                    reach::answered();
                    return Ok(value);
                }
                Err(error) => error,
            };
            metrics::counter!("sluice_store_errors_total", "script" => name).increment(1);
            let fault = error.fault().unwrap_or(Fault::Final);
            reach::failed(fault, &error);
            if attempt == ATTEMPTS || !again(fault) || begun.elapsed() > RETRY_LIMIT {
                return Err(error);
            }
            tracing::debug!(script = name, attempt, %error, "trying again");
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
            attempt += 1;
            pause *= 2;
        }
    }

    async fn send_once<T: FromRedisValue>(
        &self,
        name: &'static str,
        request: Request<'_>,
        script: Option<&str>,
    ) -> Result<T, StoreError> {
        let Some(lanes) = &self.lanes else {
            let mut connection = self.pool.get().await?;
            return Ok(exchange(name, request, script, &mut connection).await?);
        };
        let (lane, config) = lanes.next();
        let (generation, mut connection) = lane.connection(config).await?;
        let result = exchange(name, request, script, &mut connection).await;
        if let Err(error) = &result {
            lane.report(generation, error).await;
        }
        Ok(result?)
    }
}

fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
}

/// Sends a request, and teaches the server its script if need be.
async fn exchange<T: FromRedisValue>(
    name: &'static str,
    request: Request<'_>,
    script: Option<&str>,
    connection: &mut impl ConnectionLike,
) -> RedisResult<T> {
    let begun = Instant::now();
    let mut result = request.send(connection).await;
    if let (Err(error), Some(source)) = (&result, script)
        && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
    {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(source);
        load.exec_async(connection).await?;
        result = request.send(connection).await;
    }
    metrics::histogram!("sluice_store_script_seconds", "script" => name)
        .record(begun.elapsed().as_secs_f64());
    result
}

/// What goes to the server in one round trip.
#[derive(Clone, Copy)]
enum Request<'a> {
    One(&'a Cmd),
    Many(&'a Pipeline),
}

impl Request<'_> {
    async fn send<T: FromRedisValue>(self, connection: &mut impl ConnectionLike) -> RedisResult<T> {
        match self {
            Request::One(cmd) => cmd.query_async(connection).await,
            Request::Many(commands) => commands.query_async(connection).await,
        }
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
