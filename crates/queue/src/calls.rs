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

    /// Calls a function of a queue by its root.
    pub async fn function<T: FromRedisValue>(
        &self,
        function: &Function,
        root: &str,
        repeat: Repeat,
        arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let arguments = |call: &mut Cmd, _| arguments(call);
        self.function_resent(function, root, repeat, arguments)
            .await
    }

    /// As [`Calls::function`], of a function that has to know whether it was sent before. Until it
    /// was, whatever is sent to this queue afterwards arrives behind it.
    pub async fn function_resent<T: FromRedisValue>(
        &self,
        function: &Function,
        root: &str,
        repeat: Repeat,
        arguments: impl Fn(&mut Cmd, bool),
    ) -> RedisResult<T> {
        let call = |is_again| {
            let mut call = function.command(&[root]);
            arguments(&mut call, is_again);
            Cow::Owned(call)
        };
        self.0.call(function.spec(repeat), call).await
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
}
