//! What a command ends with when it does not succeed.

use std::fmt::{self, Display};

use crate::one_line::OneLine;

/// One line for standard error and, where there is one, what to do about it. The process then ends
/// with code 1.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure that says `message`: lower case, no full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", OneLine(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, " ({})", OneLine(hint)),
            None => Ok(()),
        }
    }
}

/// Turns any error into a [`Failure`] that says what was being done.
pub trait Context<T> {
    /// `<doing>: <the error and what caused it>`.
    fn context(self, doing: impl Display) -> Result<T, Failure>;
}

impl<T, E: std::error::Error> Context<T> for Result<T, E> {
    fn context(self, doing: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{doing}: {}", chain(&error))))
    }
}

/// An error with its causes on one line; a cause that its parent's text already contains is not
/// said twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}
