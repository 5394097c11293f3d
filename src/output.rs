//! Standard output, for what a command was asked for. Everything else goes to standard error.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use crate::failure::{Context, Failure};

/// Writes a line. A reader that has gone away is no error: it has what it wanted.
pub fn line(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Writes a value as a line of JSON.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(value).context("cannot write the answer as JSON")?);
    Ok(())
}
