//! Text on one line, whatever it holds.

use std::fmt::{self, Display, Write as _};

/// Shows a text with its control characters escaped: one from outside can neither begin a line of
/// its own nor speak to the terminal.
pub struct OneLine<'a>(pub &'a str);

impl Display for OneLine<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                it if it.is_control() || matches!(it, '\u{2028}' | '\u{2029}') => {
                    write!(out, "{}", it.escape_default())?;
                }
                it => out.write_char(it)?,
            }
        }
        Ok(())
    }
}
