//! Scripts as Valkey keeps them: functions in libraries.
//!
//! Valkey builds a library once, when it is loaded; scripts that are sent by their text would be
//! built at each run. A library is named after what is in it, so that processes of different
//! versions do not replace each other's, and it is loaded where a call finds that it is missing: on
//! a server that is new, was flushed, or took over.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use redis::{Cmd, FromRedisValue, RedisError, RedisResult};
use sha2::{Digest, Sha256};

use crate::call::{Repeat, Spec, says};
use crate::{Fault, Valkey};

/// How many arguments a call has, and their bytes, if it is as small as most. More are no harm.
const CALL: (usize, usize) = (16, 256);

/// A text that defines functions.
///
/// It is Lua in which `define(name, run, flags)` registers a function: `run(KEYS, ARGV)` is called,
/// and the flags are those of `redis.register_function`; most functions have none, those that only
/// read have `no-writes`, and those that free memory `allow-oom`.
#[derive(Debug, Clone)]
pub struct Library {
    name: Arc<str>,
    text: Arc<str>,
}

/// One function of a library.
#[derive(Debug, Clone)]
pub struct Function {
    name: &'static str,
    function: Arc<str>,
    library: Library,
}

impl Library {
    /// The library of these texts: what its functions share, and then its files, each of which
    /// keeps its local names to itself. Its name begins with `prefix`, which is made of `a-z`, `0-9`
    /// and `_`.
    pub fn new(prefix: &str, shared: &[&str], files: &[&str]) -> Self {
        let mut text = shared.concat();
        for file in files {
            let _ = write!(text, "do\n{file}end\n");
        }
        let digest = Sha256::digest(&text);
        let mut name = format!("{prefix}_");
        for byte in digest.iter().take(8) {
            let _ = write!(name, "{byte:02x}");
        }
        let text = format!("#!lua name={name}\nlocal LIBRARY = '{name}'\n{DEFINE}{text}");
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    /// What the server calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The function that `define` gives this name, which is also what metrics call it.
    pub fn function(&self, name: &'static str) -> Function {
        self.function_named(name, name)
    }

    /// As [`Library::function`], which metrics call `name`.
    pub fn function_named(&self, function: &str, name: &'static str) -> Function {
        Function {
            name,
            function: format!("{}_{function}", self.name).into(),
            library: self.clone(),
        }
    }

    /// The command that loads it.
    pub fn load_command(&self) -> Cmd {
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD").arg(&*self.text);
        load
    }
}

/// How a function is registered, in each library.
const DEFINE: &str = "
local function define(name, run, flags)
  redis.register_function {
    function_name = LIBRARY .. '_' .. name,
    callback = run,
    flags = flags or {},
  }
end
";

impl Function {
    /// What metrics call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The library that has it.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The call of this function with its keys, to which the arguments are then appended with
    /// [`Cmd::arg`].
    pub fn command(&self, keys: &[&str]) -> Cmd {
        self.command_with_capacity(keys, CALL.0, CALL.1)
    }

    /// As [`Function::command`], with room for `args` arguments of `bytes` bytes in all.
    pub fn command_with_capacity(&self, keys: &[&str], args: usize, bytes: usize) -> Cmd {
        self.start("FCALL", keys, args, bytes)
    }

    /// As [`Function::command`], for a function that writes nothing: it also runs where the server
    /// takes no writes.
    pub fn read_only_command(&self, keys: &[&str]) -> Cmd {
        self.start("FCALL_RO", keys, CALL.0, CALL.1)
    }

    fn start(&self, command: &str, keys: &[&str], args: usize, bytes: usize) -> Cmd {
        let key_bytes: usize = keys.iter().map(|key| key.len()).sum();
        let mut call = Cmd::with_capacity(3 + keys.len() + args, 64 + key_bytes + bytes);
        call.arg(command)
            .arg(&*self.function)
            .arg(keys.len())
            .arg(keys);
        call
    }

    /// What a call of it is.
    pub fn spec(&self, repeat: Repeat) -> Spec<'_> {
        Spec {
            name: self.name,
            repeat,
            library: Some(&self.library),
        }
    }

    /// Makes a call that was begun by [`Function::command`] and may be repeated.
    ///
    /// # Errors
    /// [`Fault::of`] says what they mean.
    pub async fn run<T: FromRedisValue>(&self, valkey: &Valkey, call: &Cmd) -> RedisResult<T> {
        let spec = self.spec(Repeat::Safe);
        valkey.call(spec, |_| Cow::Borrowed(call)).await
    }

    /// As [`Function::run`], of something that the caller can do without: `None`, at once, where
    /// the server takes no writes.
    ///
    /// # Errors
    /// As [`Function::run`], of everything else.
    pub async fn run_if_writable<T: FromRedisValue>(
        &self,
        valkey: &Valkey,
        call: &Cmd,
    ) -> RedisResult<Option<T>> {
        let spec = self.spec(Repeat::WhileWritable);
        match valkey.call(spec, |_| Cow::Borrowed(call)).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if Fault::of(&error).refuses_writes() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes many calls that may be repeated, each atomic by itself, and returns their answers in
    /// order.
    ///
    /// # Errors
    /// As [`Function::run`], when any of them fails; the others have been done then.
    pub async fn run_all<T: FromRedisValue>(
        &self,
        valkey: &Valkey,
        calls: Vec<Cmd>,
    ) -> RedisResult<Vec<T>> {
        valkey.query_all(self.spec(Repeat::Safe), calls).await
    }
}

/// Whether a server does not know a function (yet, or since a `FUNCTION FLUSH`).
pub(crate) fn is_unknown_function(error: &RedisError) -> bool {
    says(error, "Function not found")
}
