//! The calls of a queue: functions by their root, and commands on one key.

use std::borrow::Cow;

use redis::{Cmd, FromRedisValue, RedisResult};
use sluice_valkey::{Function, Metrics, Repeat, Spec, Valkey};

/// What the calls of a queue are counted as.
pub(crate) const METRICS: Metrics = Metrics {
    seconds: "sluice_queue_command_seconds",
    failures: None,
    retries: Some("sluice_queue_command_retries_total"),
    label: "command",
};

/// The way to the server that has a queue: every key of a queue lies in one slot.
#[derive(Clone)]
pub(crate) struct Calls(Valkey);

impl Calls {
    pub fn new(valkey: &Valkey) -> Self {
        Self(valkey.measured(METRICS))
    }

    /// Calls a function that is safe to call twice.
    pub async fn function<T: FromRedisValue>(
        &self,
        function: &Function,
        root: &str,
        arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let arguments = |command: &mut Cmd, _| arguments(command);
        self.evaluate(function, root, Repeat::Safe, arguments).await
    }

    /// Calls a function that is safe to call twice when it knows that it was called before. Until
    /// it is, whatever is sent to this queue afterwards arrives behind it.
    pub async fn function_resent<T: FromRedisValue>(
        &self,
        function: &Function,
        root: &str,
        arguments: impl Fn(&mut Cmd, bool),
    ) -> RedisResult<T> {
        self.evaluate(function, root, Repeat::Safe, arguments).await
    }

    /// Calls a function that is not; whether it ran when this fails is not known.
    pub async fn function_once<T: FromRedisValue>(
        &self,
        function: &Function,
        root: &str,
        arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let arguments = |command: &mut Cmd, _| arguments(command);
        self.evaluate(function, root, Repeat::Never, arguments)
            .await
    }

    /// Calls a function that is safe to call twice, and that the caller calls again soon anyway: no
    /// pause between attempts is long.
    pub async fn function_soon<T: FromRedisValue>(
        &self,
        function: &Function,
        root: &str,
        arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let arguments = |command: &mut Cmd, _| arguments(command);
        self.evaluate(function, root, Repeat::Soon, arguments).await
    }

    /// Sends a command on one key that is safe to do twice.
    pub async fn command<T: FromRedisValue>(
        &self,
        name: &'static str,
        command: &Cmd,
    ) -> RedisResult<T> {
        self.0.query(name, command).await
    }

    /// As [`Calls::command`], and fails soon if it fails: only a connection that was lost meanwhile
    /// is opened again.
    pub async fn command_soon<T: FromRedisValue>(
        &self,
        name: &'static str,
        command: &Cmd,
    ) -> RedisResult<T> {
        let spec = Spec {
            repeat: Repeat::Soon,
            ..Spec::command(name)
        };
        self.0.call(spec, |_| Cow::Borrowed(command)).await
    }

    async fn evaluate<T: FromRedisValue>(
        &self,
        function: &Function,
        root: &str,
        repeat: Repeat,
        arguments: impl Fn(&mut Cmd, bool),
    ) -> RedisResult<T> {
        let call = |again| {
            let mut call = function.command(&[root]);
            arguments(&mut call, again);
            Cow::Owned(call)
        };
        self.0.call(function.spec(repeat), call).await
    }
}
