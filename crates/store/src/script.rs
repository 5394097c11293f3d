use redis::{Cmd, FromRedisValue, Pipeline};

use crate::{StoreError, Valkey};

/// A Lua script that Valkey runs as one atomic step, called by its hash.
///
/// A server that does not know it (restarted, `SCRIPT FLUSH`) is taught it on the way. Every script
/// of this crate may be repeated without changing the outcome, so that a call is sent again when
/// the connection fails under it.
pub struct Script {
    name: &'static str,
    source: &'static str,
    sha: String,
}

impl Script {
    /// A script by its text. `name` is what the metrics call it.
    pub fn new(name: &'static str, source: &'static str) -> Script {
        let sha = redis::Script::new(source).get_hash().to_owned();
        // So that the first error is an increase.
        metrics::counter!("sluice_store_errors_total", "script" => name).increment(0);
        Script { name, source, sha }
    }

    /// The call of this script with its keys, to which the arguments are then appended with
    /// [`Cmd::arg`].
    pub fn command(&self, keys: &[&str]) -> Cmd {
        self.command_with_capacity(keys, 16, 256)
    }

    /// As [`Script::command`], with room for `args` arguments of `bytes` bytes in all.
    pub fn command_with_capacity(&self, keys: &[&str], args: usize, bytes: usize) -> Cmd {
        self.call("EVALSHA", keys, args, bytes)
    }

    /// As [`Script::command`], for a call that writes nothing: it also runs where the server takes
    /// no writes.
    pub fn read_only_command(&self, keys: &[&str]) -> Cmd {
        self.call("EVALSHA_RO", keys, 16, 256)
    }

    fn call(&self, command: &str, keys: &[&str], args: usize, bytes: usize) -> Cmd {
        let key_bytes: usize = keys.iter().map(|key| key.len()).sum();
        let mut cmd = Cmd::with_capacity(3 + keys.len() + args, 64 + key_bytes + bytes);
        cmd.arg(command).arg(&self.sha).arg(keys.len()).arg(keys);
        cmd
    }

    /// Runs a command made by [`Script::command`].
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn run<T: FromRedisValue>(
        &self,
        valkey: &Valkey,
        cmd: &Cmd,
    ) -> Result<T, StoreError> {
        valkey.query(self.name, cmd, Some(self.source)).await
    }

    /// As [`Script::run`], of something that the caller can do without: `None`, at once, where the
    /// server takes no writes.
    ///
    /// # Errors
    /// As [`Script::run`], of everything else.
    pub async fn run_if_writable<T: FromRedisValue>(
        &self,
        valkey: &Valkey,
        cmd: &Cmd,
    ) -> Result<Option<T>, StoreError> {
        valkey
            .query_if_writable(self.name, cmd, Some(self.source))
            .await
    }

    /// As [`Script::run_all`], sent once: what is lost when it fails is not worth a wait.
    ///
    /// # Errors
    /// As [`Script::run_all`].
    pub async fn run_all_once<T: FromRedisValue>(
        &self,
        valkey: &Valkey,
        commands: &Pipeline,
    ) -> Result<T, StoreError> {
        valkey
            .query_all_once(self.name, commands, Some(self.source))
            .await
    }

    /// Runs many commands made by [`Script::command`] of this script in one round trip, each atomic
    /// by itself.
    ///
    /// # Errors
    /// As [`Script::run`], when any of them fails; the others have happened then.
    pub async fn run_all<T: FromRedisValue>(
        &self,
        valkey: &Valkey,
        commands: &Pipeline,
    ) -> Result<T, StoreError> {
        valkey
            .query_all(self.name, commands, Some(self.source))
            .await
    }
}
