//! Cuts the documents out of a page of JSON while it is still arriving, without building a tree.
//!
//! Fed the body's chunks, it gives each element of the page's array as a slice of the chunk it came
//! in (copied only when it straddles two). What surrounds the array, the envelope, is kept with the
//! array left empty and goes to serde at the end. It holds one document and one chunk at most. It
//! checks strings and brackets everywhere and separators around documents; the inside of a document
//! is left to whoever reads its fields.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// Where a page keeps its documents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RowsAt {
    /// In the top-level field `values`: the streaming export.
    Values,
    /// In the field `page` of the top-level field `value`: functions.
    Page,
}

/// Why a body cannot be cut.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SliceError {
    /// Not JSON of the expected shape.
    #[error("{0}")]
    Malformed(&'static str),
    /// A document, or the envelope, passes the limit of so many bytes.
    #[error("a document of more than {0} bytes")]
    TooLarge(usize),
    /// The body ended before the JSON did.
    #[error("the body ends in the middle")]
    Incomplete,
}

/// See the [module](self).
pub struct Slicer {
    rows_at: RowsAt,
    max_document: usize,
    chunk: Bytes,
    /// How far `chunk` is consumed.
    at: usize,
    state: State,
    /// The brackets open in the envelope.
    envelope: Brackets,
    /// The envelope so far.
    shell: Vec<u8>,
    /// The last string of the envelope, as a range of `shell`; a key once a colon follows.
    last_string: Range<usize>,
    key: Option<Range<usize>>,
    /// In the object that is the value of the top-level field `value`.
    in_value: bool,
    /// The brackets open in the present document.
    document: Brackets,
    /// Where the present document begins in `chunk`; 0 when it began in an earlier one.
    document_start: usize,
    /// What came of the present document in earlier chunks.
    partial: BytesMut,
    in_string: bool,
    /// The next byte is escaped by a backslash.
    escaped: bool,
}

enum State {
    Envelope,
    Between(Expect),
    Document,
}

/// What may stand between two documents.
enum Expect {
    DocumentOrEnd,
    CommaOrEnd,
    Document,
}

impl Slicer {
    /// A slicer for one page. Documents of more than `max_document` bytes are an error.
    pub fn new(rows_at: RowsAt, max_document: usize) -> Slicer {
        Slicer {
            rows_at,
            max_document,
            chunk: Bytes::new(),
            at: 0,
            state: State::Envelope,
            envelope: Brackets::default(),
            shell: Vec::new(),
            last_string: 0..0,
            key: None,
            in_value: false,
            document: Brackets::default(),
            document_start: 0,
            partial: BytesMut::new(),
            in_string: false,
            escaped: false,
        }
    }

    /// Gives the next chunk, once [`Self::next_row`] wants one.
    pub fn feed(&mut self, chunk: Bytes) {
        debug_assert_eq!(
            self.at,
            self.chunk.len(),
            "the former chunk is not consumed"
        );
        self.chunk = chunk;
        self.at = 0;
        self.document_start = 0;
    }

    /// The next document; `None` when it takes another chunk to tell.
    pub fn next_row(&mut self) -> Result<Option<Bytes>, SliceError> {
        while self.at < self.chunk.len() {
            match self.state {
                State::Envelope => self.read_envelope()?,
                State::Between(_) => self.read_separator()?,
                State::Document => {
                    if let Some(document) = self.read_document()? {
                        return Ok(Some(document));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The envelope, once the body has ended.
    pub fn finish(self) -> Result<Vec<u8>, SliceError> {
        let whole = matches!(self.state, State::Envelope)
            && !self.in_string
            && self.envelope.depth == 0
            && !self.shell.is_empty();
        if whole {
            Ok(self.shell)
        } else {
            Err(SliceError::Incomplete)
        }
    }

    /// Reads the envelope up to the array of documents or the end of the chunk.
    fn read_envelope(&mut self) -> Result<(), SliceError> {
        while let Some(&byte) = self.chunk.get(self.at) {
            self.at += 1;
            if self.shell.len() >= self.max_document {
                return Err(SliceError::TooLarge(self.max_document));
            }
            self.shell.push(byte);
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => {
                        self.in_string = false;
                        self.last_string.end = self.shell.len() - 1;
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => {
                    self.in_string = true;
                    self.last_string = self.shell.len()..self.shell.len();
                }
                b':' => self.key = Some(self.last_string.clone()),
                b',' => self.key = None,
                b'[' if self.rows_begin() => {
                    self.state = State::Between(Expect::DocumentOrEnd);
                    return Ok(());
                }
                b'{' | b'[' => {
                    if self.envelope.depth == 1 {
                        self.in_value = byte == b'{' && self.key_is(b"value");
                    }
                    self.envelope.open(byte)?;
                    self.key = None;
                }
                b'}' | b']' => {
                    self.envelope.close(byte)?;
                    self.key = None;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the bracket just read opens the array of documents.
    fn rows_begin(&self) -> bool {
        match (self.rows_at, self.envelope.depth) {
            (RowsAt::Values, 1) => self.key_is(b"values"),
            (RowsAt::Page, 2) => self.in_value && self.key_is(b"page"),
            _ => false,
        }
    }

    fn key_is(&self, name: &[u8]) -> bool {
        self.key.clone().is_some_and(|key| &self.shell[key] == name)
    }

    /// Reads one byte between documents.
    fn read_separator(&mut self) -> Result<(), SliceError> {
        let State::Between(expect) = &self.state else {
            return Ok(());
        };
        self.state = match (self.chunk[self.at], expect) {
            (b' ' | b'\t' | b'\n' | b'\r', _) => {
                self.at += 1;
                return Ok(());
            }
            (b',', Expect::CommaOrEnd) => State::Between(Expect::Document),
            (b']', Expect::CommaOrEnd | Expect::DocumentOrEnd) => {
                self.shell.push(b']');
                self.key = None;
                State::Envelope
            }
            (b'{', Expect::Document | Expect::DocumentOrEnd) => {
                self.document_start = self.at;
                self.state = State::Document;
                return Ok(());
            }
            _ => {
                return Err(SliceError::Malformed(
                    "expected a document, a comma or the end of the page",
                ));
            }
        };
        self.at += 1;
        Ok(())
    }

    /// Reads on in a document; gives it when it ends in this chunk, else keeps what there is of it.
    fn read_document(&mut self) -> Result<Option<Bytes>, SliceError> {
        let end = self.document_end()?;
        let stop = end.unwrap_or(self.chunk.len());
        if self.partial.len() + (stop - self.document_start) > self.max_document {
            return Err(SliceError::TooLarge(self.max_document));
        }
        self.at = stop;
        if end.is_some() {
            self.state = State::Between(Expect::CommaOrEnd);
            if self.partial.is_empty() {
                return Ok(Some(self.chunk.slice(self.document_start..stop)));
            }
        }
        self.partial
            .extend_from_slice(&self.chunk[self.document_start..stop]);
        Ok(end.map(|_| std::mem::take(&mut self.partial).freeze()))
    }

    /// The index behind the document's closing bracket; `None` when it is not in this chunk.
    fn document_end(&mut self) -> Result<Option<usize>, SliceError> {
        let bytes = &self.chunk[..];
        let mut at = self.at;
        if std::mem::take(&mut self.escaped) {
            at += 1;
        }
        loop {
            if self.in_string {
                let Some(found) = memchr2(b'"', b'\\', &bytes[at..]) else {
                    return Ok(None);
                };
                at += found + 1;
                if bytes[at - 1] == b'"' {
                    self.in_string = false;
                } else if at == bytes.len() {
                    self.escaped = true;
                    return Ok(None);
                } else {
                    at += 1;
                }
                continue;
            }
            let Some(&byte) = bytes.get(at) else {
                return Ok(None);
            };
            at += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.document.open(byte)?,
                b'}' | b']' => {
                    self.document.close(byte)?;
                    if self.document.depth == 0 {
                        return Ok(Some(at));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Open brackets: how many, and of which kind each is. Convex nests values at most 64 deep.
#[derive(Default)]
struct Brackets {
    depth: u32,
    /// One bit each, the innermost lowest: 1 for `{`.
    kinds: u128,
}

impl Brackets {
    fn open(&mut self, bracket: u8) -> Result<(), SliceError> {
        if self.depth == u128::BITS {
            return Err(SliceError::Malformed("nested too deeply"));
        }
        self.depth += 1;
        self.kinds = self.kinds << 1 | u128::from(bracket == b'{');
        Ok(())
    }

    fn close(&mut self, bracket: u8) -> Result<(), SliceError> {
        if self.depth == 0 || (self.kinds & 1 == 1) != (bracket == b'}') {
            return Err(SliceError::Malformed("a bracket closes nothing"));
        }
        self.depth -= 1;
        self.kinds >>= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
