use std::error::Error;

use serde::Deserialize;

/// Why Convex did not give what was asked. Carries neither the deploy key nor a URL.
#[derive(Debug, thiserror::Error)]
pub enum ConvexError {
    /// 401: the deploy key is not this deployment's.
    #[error("the deploy key is refused: {message}")]
    Unauthorized {
        /// The server's words.
        message: String,
    },

    /// 403: no key was seen, the key lacks a permission, or the plan has no streaming export.
    #[error("not allowed ({code}): {message}")]
    Forbidden {
        /// `BadDeployKey`, `OperationNotPermitted` or `StreamingExportNotEnabled`.
        code: String,
        /// The server's words.
        message: String,
    },

    /// The deployment has no function of this name; `crates/convex/functions` was not deployed to
    /// it.
    #[error(
        "the deployment has no function {path}: deploy crates/convex/functions, or set files_via to \
         \"export\""
    )]
    FunctionMissing {
        /// As `module:function`.
        path: String,
    },

    /// The deployment has a function of this name which is the application's own.
    #[error(
        "the deployment's function {path} is not Sluice's ({reason}): deploy crates/convex/functions, or \
         set files_via to \"export\""
    )]
    ForeignFunction {
        /// As `module:function`.
        path: String,
        /// What it did when it was asked for no files.
        reason: String,
    },

    /// The function ran and threw. Convex retries what is worth retrying before it says so.
    #[error("function {path} failed: {message}")]
    Function {
        /// As `module:function`.
        path: String,
        /// The server's words.
        message: String,
    },

    /// The cursor is older than what the deployment remembers: start again from a snapshot.
    #[error("the cursor is too old: {message}")]
    CursorExpired {
        /// The server's words.
        message: String,
    },

    /// The deployment does not know the cursor, perhaps because the table that it leads through is
    /// gone: start again from a snapshot.
    #[error("the cursor is not known ({code}): {message}")]
    CursorUnknown {
        /// `InvalidListSnapshotCursor` or `DocumentDeltasCursorRequired`.
        code: String,
        /// The server's words.
        message: String,
    },

    /// The snapshot is later than the deployment's present time.
    #[error("the snapshot is in the future: {message}")]
    SnapshotTooNew {
        /// The server's words.
        message: String,
    },

    /// Any other status than success.
    #[error("status {status} ({code}): {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The `code` of the error body, empty when there was none.
        code: String,
        /// The server's words.
        message: String,
    },

    /// The connection could not be made or broke.
    #[error("connection to Convex: {0}")]
    Transport(String),

    /// Nothing came for the configured time.
    #[error("Convex did not {0} in time")]
    Timeout(&'static str),

    /// The answer is not of the documented shape.
    #[error("malformed answer from Convex: {0}")]
    Malformed(String),

    /// The deployment cannot do this with the streaming import alone.
    #[error("this needs the Convex functions to be deployed: {0}")]
    NeedsFunctions(String),

    /// Someone else deletes the same files at the same time, and neither gets done.
    #[error("the same files are being deleted by someone else")]
    Contended,

    /// The temporary file that brings exported files into order failed.
    #[error("temporary file: {0}")]
    Spool(String),

    /// The configuration cannot work.
    #[error("{0}")]
    Config(String),
}

impl ConvexError {
    /// Whether the same call may succeed a little later.
    ///
    /// 408, 502, 503 and 504 are overload, conflict and restarts, 429 a rate limit. 500 is Convex's
    /// status for every error it did not classify, most of them passing; it also answers a bad
    /// table name so, hence retries have to be bounded.
    pub fn is_retryable(&self) -> bool {
        match self {
            ConvexError::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502..=504),
            ConvexError::Transport(_) | ConvexError::Timeout(_) | ConvexError::Contended => true,
            _ => false,
        }
    }

    /// Whether it is the deploy key that has to be mended before anything can work.
    pub fn is_refused_key(&self) -> bool {
        matches!(
            self,
            ConvexError::Unauthorized { .. } | ConvexError::Forbidden { .. }
        )
    }

    /// The error for a refused request: `body` is `{"code","message"}`, or anything if a proxy
    /// answered.
    pub(super) fn from_status(status: u16, body: &[u8]) -> ConvexError {
        #[derive(Deserialize)]
        struct ErrorBody {
            code: String,
            message: String,
        }
        let ErrorBody { code, message } =
            serde_json::from_slice(body).unwrap_or_else(|_| ErrorBody {
                code: String::new(),
                message: String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
            });
        match (status, code.as_str()) {
            (401, _) => ConvexError::Unauthorized { message },
            (403, _) => ConvexError::Forbidden { code, message },
            (400, "InvalidWindowToReadDocuments" | "SnapshotTooOld") => {
                ConvexError::CursorExpired { message }
            }
            (400, "InvalidListSnapshotCursor" | "DocumentDeltasCursorRequired") => {
                ConvexError::CursorUnknown { code, message }
            }
            (400, "SnapshotTooNew") => ConvexError::SnapshotTooNew { message },
            _ => ConvexError::Status {
                status,
                code,
                message,
            },
        }
    }

    /// The error for a function that answered `"status":"error"`.
    pub(super) fn from_function(path: &str, message: String) -> ConvexError {
        let path = path.to_owned();
        // There is no code for it; this is how Convex has worded it throughout.
        if message.contains("Could not find") && message.contains("function") {
            ConvexError::FunctionMissing { path }
        } else {
            ConvexError::Function { path, message }
        }
    }

    /// The error for a connection that failed; the URL is left out.
    pub(super) fn from_transport(error: reqwest::Error) -> ConvexError {
        if error.is_timeout() {
            return ConvexError::Timeout("accept the connection");
        }
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        ConvexError::Transport(text)
    }
}
