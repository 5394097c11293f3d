//! What an error of the server means to the one who asked.

use redis::{ErrorKind, RedisError};

/// Why Valkey did not do what it was asked, and so whether the same call may succeed later.
///
/// Only what is known to be final is [`Fault::Final`]. An error that this list does not know may
/// pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No answer: the connection failed or broke, or the answer took too long. The call may have
    /// happened.
    Outage,
    /// The server is starting, busy with a long script, out of connections, or a cluster is not
    /// whole.
    Busy,
    /// The server takes no writes: it is a replica, has too few replicas, or cannot save to its
    /// disk.
    NotWritable,
    /// The server's memory is full (`maxmemory`).
    OutOfMemory,
    /// The server refuses the user, or the user lacks a permission.
    AccessDenied,
    /// Another error, which this version does not know.
    Unknown,
    /// The call itself is at fault and fails each time: a wrong type, a number out of range, a
    /// malformed command.
    Final,
}

/// Codes of error replies, the first word of each, that mean something else than
/// [`Fault::Unknown`].
const CODES: [(&str, Fault); 17] = [
    ("LOADING", Fault::Busy),
    ("BUSY", Fault::Busy),
    ("UNKILLABLE", Fault::Busy),
    ("TRYAGAIN", Fault::Busy),
    ("CLUSTERDOWN", Fault::Busy),
    ("MASTERDOWN", Fault::Busy),
    ("MOVED", Fault::Busy),
    ("ASK", Fault::Busy),
    ("READONLY", Fault::NotWritable),
    ("NOREPLICAS", Fault::NotWritable),
    ("MISCONF", Fault::NotWritable),
    ("OOM", Fault::OutOfMemory),
    ("NOAUTH", Fault::AccessDenied),
    ("NOPERM", Fault::AccessDenied),
    ("WRONGPASS", Fault::AccessDenied),
    ("WRONGTYPE", Fault::Final),
    ("CROSSSLOT", Fault::Final),
];

/// Beginnings of error replies with the code `ERR` that mean something else than
/// [`Fault::Unknown`].
const TEXTS: [(&str, Fault); 12] = [
    // A script's user, as Valkey and as Redis 7.0 tell of it.
    ("ACL failure in script", Fault::AccessDenied),
    ("The user executing the script can't", Fault::AccessDenied),
    ("max number of clients reached", Fault::Busy),
    ("value is not an integer", Fault::Final),
    ("value is not a valid float", Fault::Final),
    ("value is out of range", Fault::Final),
    ("increment or decrement would overflow", Fault::Final),
    ("invalid expire time", Fault::Final),
    ("wrong number of arguments", Fault::Final),
    ("syntax error", Fault::Final),
    // A script or function of a version that has a mistake in it.
    ("user_script:", Fault::Final),
    ("user_function:", Fault::Final),
];

impl Fault {
    /// Sorts an error. Of several commands that failed together, the first one counts.
    pub fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::AuthenticationFailed => return Self::AccessDenied,
            // The answer has another shape than this version expects.
            ErrorKind::UnexpectedReturnType | ErrorKind::InvalidClientConfig => return Self::Final,
            ErrorKind::Server(_) | ErrorKind::Extension => {}
            _ => return Self::Outage,
        }
        match error.clone().into_server_errors() {
            Some(errors) => errors.first().map_or(Self::Unknown, |(_, error)| {
                Self::of_reply(error.code(), error.details().unwrap_or_default())
            }),
            None => Self::of_reply(
                error.code().unwrap_or_default(),
                error.detail().unwrap_or_default(),
            ),
        }
    }

    /// Sorts an error reply, without its leading `-`: its first word, and the rest.
    fn of_reply(code: &str, detail: &str) -> Self {
        if let Some((_, fault)) = CODES.iter().find(|(known, _)| *known == code) {
            return *fault;
        }
        // A script that fails wraps the reply of its command: "ERR value is not an integer …
        // script: <sha>, …".
        let known = TEXTS.iter().find(|(text, _)| detail.starts_with(text));
        known.map_or(Self::Unknown, |(_, fault)| *fault)
    }

    /// Whether the same call fails each time it is made.
    pub fn is_final(self) -> bool {
        self == Self::Final
    }

    /// Whether to make the same call again at once, after a moment: what usually passes within
    /// seconds.
    pub fn is_brief(self) -> bool {
        matches!(self, Self::Outage | Self::Busy | Self::NotWritable)
    }

    /// Whether the server goes on to answer reads.
    pub fn refuses_writes(self) -> bool {
        matches!(self, Self::NotWritable | Self::OutOfMemory)
    }

    /// A stable name: `out_of_memory`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Outage | Self::Unknown | Self::Final => "unavailable",
            Self::Busy => "busy",
            Self::NotWritable => "not_writable",
            Self::OutOfMemory => "out_of_memory",
            Self::AccessDenied => "access_denied",
        }
    }

    /// What Valkey does, in words that may go to a caller: "does not answer".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outage => "does not answer",
            Self::Busy => "is starting or busy",
            Self::NotWritable => "cannot be written at the moment",
            Self::OutOfMemory => "is out of memory",
            Self::AccessDenied => "refuses the user that Sluice connects as",
            Self::Unknown => "answers with an error",
            Self::Final => "refuses the call",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use redis::{RedisError, make_extension_error};

    use super::Fault;

    fn reply(line: &str) -> Fault {
        let (code, detail) = line.split_once(' ').unwrap();
        Fault::of(&make_extension_error(
            code.to_owned(),
            Some(detail.to_owned()),
        ))
    }

    #[test]
    fn what_the_server_cannot_do_for_now_is_passing() {
        for (line, fault) in [
            (
                "LOADING Valkey is loading the dataset in memory",
                Fault::Busy,
            ),
            ("BUSY Valkey is busy running a script.", Fault::Busy),
            (
                "UNKILLABLE Sorry the script already executed write commands",
                Fault::Busy,
            ),
            ("CLUSTERDOWN The cluster is down", Fault::Busy),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                Fault::Busy,
            ),
            ("ERR max number of clients reached", Fault::Busy),
            (
                "READONLY You can't write against a read only replica.",
                Fault::NotWritable,
            ),
            (
                "NOREPLICAS Not enough good replicas to write.",
                Fault::NotWritable,
            ),
            ("MISCONF Errors writing to the AOF file", Fault::NotWritable),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Fault::OutOfMemory,
            ),
            ("NOAUTH Authentication required.", Fault::AccessDenied),
            (
                "NOPERM User x has no permissions to run",
                Fault::AccessDenied,
            ),
            (
                "ERR ACL failure in script: User x has no permissions to run the 'publish' command",
                Fault::AccessDenied,
            ),
            (
                "ERR The user executing the script can't run this command or subcommand script: 0a, on @user_script:3.",
                Fault::AccessDenied,
            ),
            (
                "WRONGPASS invalid username-password pair",
                Fault::AccessDenied,
            ),
        ] {
            assert_eq!(reply(line), fault, "{line}");
            assert!(!reply(line).is_final(), "{line}");
        }
    }

    #[test]
    fn what_fails_each_time_is_final() {
        for line in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "CROSSSLOT Keys in request don't hash to the same slot",
            "ERR value is not an integer or out of range",
            "ERR invalid expire time in 'pexpireat' command script: 0a, on @user_script:3.",
            "ERR user_script:7: attempt to index a nil value",
        ] {
            assert!(reply(line).is_final(), "{line}");
        }
    }

    #[test]
    fn what_is_not_known_is_passing() {
        for line in [
            "ERR something new",
            "NEWCODE something else",
            "ERR unknown command 'JSON.GET'",
        ] {
            assert_eq!(reply(line), Fault::Unknown, "{line}");
        }
    }

    #[test]
    fn a_broken_connection_is_an_outage() {
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(Fault::of(&RedisError::from(broken)), Fault::Outage);
    }
}
