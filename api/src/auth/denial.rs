//! Why a token, or its holder, is turned away.

use super::Scope;

/// Why a token, or its holder, is turned away. The message of each is written for the caller.
#[derive(Debug, thiserror::Error)]
pub enum Denial {
    /// The token does not hold; says what is wrong with it.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The token is good but lacks this scope.
    #[error("this needs a token with the scope {0}")]
    Forbidden(Scope),
    /// The issuer's keys cannot be fetched; names what does not answer.
    #[error("{0} does not answer")]
    Unavailable(&'static str),
}
