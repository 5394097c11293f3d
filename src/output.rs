//! Standard output, for what a command was asked for. Everything else goes to standard error.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line. A reader that has gone away is no error: it has what it wanted.
pub fn line(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}
