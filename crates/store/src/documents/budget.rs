//! What a change may still add to a document, drawn on while the document is being built.
//!
//! A few bytes of mutations can copy a document into itself again and again. So each of them draws
//! on the budget before it adds anything: no state in between is larger or deeper than a document
//! may be, and all copies together stay small.

use serde::Serialize;
use serde_json::{Serializer, Value};

use super::number::ExactFloats;
use super::{Data, DocumentError, DocumentsConfig};

/// How many times its greatest size a document may be copied by one call.
const COPIES: usize = 16;
/// So many items of an array are shifted in the time in which one byte is copied.
const SHIFTS_PER_BYTE: usize = 4;

/// Why something may not be added.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It does not fit what is there, for this reason.
    Misfit(String),
    TooLarge,
    TooDeep,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Refusal {
        Refusal::Misfit(reason)
    }
}

impl Refusal {
    /// As callers see it, of the mutation at that place of a list.
    pub fn into_error(self, config: &DocumentsConfig, mutation: Option<usize>) -> DocumentError {
        match self {
            Refusal::Misfit(reason) => DocumentError::Mutation {
                index: mutation.unwrap_or_default(),
                reason,
            },
            Refusal::TooLarge => DocumentError::TooLarge {
                limit: config.max_bytes,
                mutation,
            },
            Refusal::TooDeep => DocumentError::TooDeep {
                limit: config.max_depth,
                mutation,
            },
        }
    }
}

/// How large a document is while it is being built, and how large it may become.
pub(super) struct Budget {
    max_bytes: usize,
    max_depth: usize,
    /// Bytes of the document as compact JSON.
    bytes: usize,
    /// Whether these were counted; else they are an estimate, which is rather too high.
    is_counted: bool,
    /// Bytes that may still be copied.
    copies: usize,
}

impl Budget {
    /// For a document that is about `bytes` long.
    pub fn new(config: &DocumentsConfig, bytes: usize) -> Budget {
        Budget {
            max_bytes: config.max_bytes,
            max_depth: config.max_depth,
            bytes,
            is_counted: false,
            copies: COPIES.saturating_mul(config.max_bytes),
        }
    }

    /// Makes a change, again if it was refused by an estimate only. A change that is refused must
    /// have left what is there as it was, or be the same when it is made twice.
    pub fn spend<T>(
        &mut self,
        target: &mut T,
        bytes: impl FnOnce(&T) -> usize,
        mut change: impl FnMut(&mut T, &mut Budget) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match change(target, self) {
            Err(Refusal::TooLarge) if !self.is_counted => {
                self.bytes = bytes(target);
                self.is_counted = true;
                change(target, self)
            }
            made => made,
        }
    }

    /// Before bytes are added, and others taken away. What shrinks may be too large still.
    pub fn add(&mut self, added: usize, removed: usize) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_add(added).saturating_sub(removed);
        if added > removed && self.bytes > self.max_bytes {
            return Err(Refusal::TooLarge);
        }
        Ok(())
    }

    /// Before a change of at most so many bytes that cannot be made twice: none of it is refused by
    /// an estimate.
    pub fn ensure_estimate(&self, added: usize) -> Result<(), Refusal> {
        if !self.is_counted && self.bytes.saturating_add(added) > self.max_bytes {
            return Err(Refusal::TooLarge);
        }
        Ok(())
    }

    /// Before a value is put below `levels` others.
    pub fn nest(&self, levels: usize, value: &Value) -> Result<(), Refusal> {
        match self.max_depth.checked_sub(levels) {
            Some(left) if fits_depth(value, left) => Ok(()),
            _ => Err(Refusal::TooDeep),
        }
    }

    /// Before so many bytes of the document are copied or looked through.
    pub fn copy(&mut self, bytes: usize) -> Result<(), Refusal> {
        let left = self.copies.checked_sub(bytes).ok_or_else(|| {
            let limit = COPIES.saturating_mul(self.max_bytes);
            format!("the mutations of one call may copy and move {limit} bytes in all")
        })?;
        self.copies = left;
        Ok(())
    }

    /// Before so many items of an array make room for another, or close up.
    pub fn shift(&mut self, items: usize) -> Result<(), Refusal> {
        self.copy(items / SHIFTS_PER_BYTE)
    }
}

/// Bytes of a value as compact JSON, just as it is kept.
pub(super) fn size(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (mut count, mut floats) = (Count(0), ExactFloats::default());
    let mut serializer = Serializer::with_formatter(&mut count, &mut floats);
    // A value that cannot be written is as good as endless.
    match value.serialize(&mut serializer) {
        Ok(()) => count.0,
        Err(_) => usize::MAX,
    }
}

/// Bytes of a field but for its value, in an object that has others or not.
pub(super) fn size_of_name(name: &str, has_others: bool) -> usize {
    size(&name) + 1 + usize::from(has_others)
}

/// Whether a value is nested at most `limit` levels deep, itself being the first when it is an
/// object or array.
pub(super) fn fits_depth(value: &Value, limit: usize) -> bool {
    match value {
        Value::Object(fields) => object_fits(fields, limit),
        Value::Array(items) => limit > 0 && items.iter().all(|item| fits_depth(item, limit - 1)),
        _ => true,
    }
}

/// As [`fits_depth`], for an object.
pub(super) fn object_fits(fields: &Data, limit: usize) -> bool {
    limit > 0 && fields.values().all(|value| fits_depth(value, limit - 1))
}
