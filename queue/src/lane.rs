//! One multiplexed connection that comes back by itself.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError};
use redis::{RedisResult, ServerErrorKind};
use tokio::sync::Mutex;

use crate::script::Script;

/// How often a command that is safe to do twice is sent before its caller hears of the failure.
const ATTEMPTS: u32 = 6;

/// The mean pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// A connection that all tasks of a process share: their commands are pipelined without anybody waiting for anybody.
/// After an error of the connection the next command opens another one.
pub(crate) struct Lane {
    client: Client,
    config: AsyncConnectionConfig,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    generation: u64,
    connection: Option<MultiplexedConnection>,
}

impl Lane {
    pub fn new(client: Client, response_timeout: Duration) -> Self {
        // The default response time-out of 500 ms is shorter than a busy server may need.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(crate::keys::CONNECT_TIMEOUT))
            .set_response_timeout(Some(response_timeout));
        Self {
            client,
            config,
            open: Mutex::default(),
        }
    }

    /// Runs a script that is safe to run twice.
    pub async fn script<T: FromRedisValue>(
        &self,
        script: &Script,
        root: &str,
        arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        self.evaluate(script, root, arguments, ATTEMPTS).await
    }

    /// Runs a script that is not; whether it ran when this fails is not known.
    pub async fn script_once<T: FromRedisValue>(
        &self,
        script: &Script,
        root: &str,
        arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        self.evaluate(script, root, arguments, 1).await
    }

    /// Sends a command that is safe to do twice.
    pub async fn command<T: FromRedisValue>(
        &self,
        name: &'static str,
        command: &Cmd,
    ) -> RedisResult<T> {
        self.send_up_to(ATTEMPTS, name, command).await
    }

    /// By its SHA, and by its text when the server does not know it (yet, or since a SCRIPT FLUSH).
    async fn evaluate<T: FromRedisValue>(
        &self,
        script: &Script,
        root: &str,
        arguments: impl Fn(&mut Cmd),
        attempts: u32,
    ) -> RedisResult<T> {
        let mut by_sha = redis::cmd("EVALSHA");
        by_sha.arg(&script.sha).arg(1).arg(root);
        arguments(&mut by_sha);
        match self.send_up_to(attempts, script.name, &by_sha).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let mut by_text = redis::cmd("EVAL");
                by_text.arg(&script.source).arg(1).arg(root);
                arguments(&mut by_text);
                self.send_up_to(attempts, script.name, &by_text).await
            }
            answer => answer,
        }
    }

    /// Sends a command, and again after a pause when the connection broke or the server is still loading.
    async fn send_up_to<T: FromRedisValue>(
        &self,
        attempts: u32,
        name: &'static str,
        command: &Cmd,
    ) -> RedisResult<T> {
        let begun = Instant::now();
        let mut attempt = 1;
        let answer = loop {
            match self.send(command).await {
                Err(error) if is_transient(&error) && attempt < attempts => {
                    metrics::counter!("sluice_queue_command_retries_total", "command" => name)
                        .increment(1);
                    tokio::time::sleep(jittered(FIRST_PAUSE * 2_u32.pow(attempt - 1))).await;
                    attempt += 1;
                }
                answer => break answer,
            }
        };
        metrics::histogram!("sluice_queue_command_seconds", "command" => name)
            .record(begun.elapsed());
        answer
    }

    async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let (generation, mut connection) = self.connection().await?;
        let answer = command.query_async(&mut connection).await;
        if let Err(error) = &answer
            && is_broken(error)
        {
            let mut open = self.open.lock().await;
            // Somebody else may have opened a new one meanwhile.
            if open.generation == generation {
                open.connection = None;
            }
        }
        answer
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let mut open = self.open.lock().await;
        let connection = match &open.connection {
            Some(connection) => connection.clone(),
            None => {
                let connection = self
                    .client
                    .get_multiplexed_async_connection_with_config(&self.config)
                    .await?;
                open.generation += 1;
                open.connection = Some(connection.clone());
                connection
            }
        };
        Ok((open.generation, connection))
    }
}

/// Half to one and a half times `mean`, so that many clients do not come back in step.
pub(crate) fn jittered(mean: Duration) -> Duration {
    mean.mul_f64(rand::random_range(0.5..1.5))
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || error.is_timeout()
}

fn is_transient(error: &RedisError) -> bool {
    is_broken(error)
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::TryAgain)
        )
}
