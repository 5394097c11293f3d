use memchr::memchr2;

use super::malformed;
use crate::ConvexError;

/// Steps over raw JSON, value by value.
pub(super) struct Cursor<'a> {
    pub text: &'a str,
    pub at: usize,
}

impl<'a> Cursor<'a> {
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    pub fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes().get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is no space, without stepping over it.
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.bytes().get(self.at).copied()
    }

    /// The next byte that is no space.
    pub fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Steps over this byte and the space before it.
    pub fn expect(&mut self, byte: u8) -> Result<(), ConvexError> {
        if self.next() == Some(byte) {
            Ok(())
        } else {
            Err(malformed("a document is not a JSON object"))
        }
    }

    /// A string with its quotes.
    pub fn string(&mut self) -> Result<&'a str, ConvexError> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            let Some(found) = self
                .bytes()
                .get(self.at..)
                .and_then(|rest| memchr2(b'"', b'\\', rest))
            else {
                return Err(malformed("a string without an end"));
            };
            self.at += found + 1;
            if self.bytes()[self.at - 1] == b'"' {
                return Ok(&self.text[start..self.at]);
            }
            self.at += 1;
        }
    }

    /// Any value; a nested one is skipped by its brackets.
    pub fn value(&mut self) -> Result<&'a str, ConvexError> {
        let start = match self.peek() {
            Some(b'"') => return self.string(),
            Some(b'{' | b'[') => {
                let start = self.at;
                let mut depth = 0;
                while {
                    match self.bytes().get(self.at) {
                        Some(b'"') => {
                            self.string()?;
                            self.at -= 1;
                        }
                        Some(b'{' | b'[') => depth += 1,
                        Some(b'}' | b']') => depth -= 1,
                        Some(_) => {}
                        None => return Err(malformed("a value without an end")),
                    }
                    self.at += 1;
                    depth > 0
                } {}
                return Ok(&self.text[start..self.at]);
            }
            _ => self.at,
        };
        let rest = &self.bytes()[start..];
        let length = rest
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b' ' | b'\t' | b'\n' | b'\r'));
        let length = length
            .filter(|&length| length > 0)
            .ok_or_else(|| malformed("expected a value"))?;
        self.at += length;
        Ok(&self.text[start..self.at])
    }
}
