//! A document's raw JSON, and what is needed to know of it without parsing the rest.

mod cursor;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use self::cursor::Cursor;
use super::{File, FileChange};
use crate::ConvexError;

/// Where the top-level fields that matter have their values.
#[derive(Default)]
struct Fields {
    doc_id: Option<Range<usize>>,
    id: Option<Range<usize>>,
    user: Option<Range<usize>>,
    created: Option<Range<usize>>,
    table: Option<Range<usize>>,
    ts: Option<Range<usize>>,
    deleted: bool,
    /// The members to leave out, in order, each without its comma.
    cut: Vec<Range<usize>>,
    /// How many members stay.
    kept: usize,
}

/// A row of the export or of a function: one document of the `files` table, perhaps with metadata
/// fields around it.
pub(super) struct Document {
    raw: Bytes,
    fields: Fields,
}

impl Document {
    /// Reads the top-level fields in one pass.
    pub fn read(raw: Bytes) -> Result<Document, ConvexError> {
        let text = std::str::from_utf8(&raw).map_err(|_| malformed("a document is not UTF-8"))?;
        let fields = scan(text)?;
        Ok(Document { raw, fields })
    }

    /// The `_table` of an exported row.
    pub fn table(&self) -> Result<Option<Cow<'_, str>>, ConvexError> {
        self.string(&self.fields.table)
    }

    /// The owner: the field `user`, if it is a non-empty string.
    pub fn user(&self) -> Result<Option<Cow<'_, str>>, ConvexError> {
        self.string(&self.fields.user)
    }

    /// The `_id` given by Convex.
    pub fn doc_id(&self) -> Result<Cow<'_, str>, ConvexError> {
        self.string(&self.fields.doc_id)?
            .ok_or_else(|| malformed("a document without _id"))
    }

    /// The field `id`, if it is a non-empty string.
    pub fn own_id(&self) -> Result<Option<Cow<'_, str>>, ConvexError> {
        self.string(&self.fields.id)
    }

    /// The file, if the document has an owner; documents without one are nobody's file.
    pub fn file(&self) -> Result<Option<File>, ConvexError> {
        let Some(user) = self.user()? else {
            return Ok(None);
        };
        let doc_id = self.doc_id()?;
        let created = self
            .text(&self.fields.created)
            .and_then(|number| number.parse().ok());
        let created = created.ok_or_else(|| malformed("a document without _creationTime"))?;
        let own_id = self.own_id()?;
        let json = if own_id.is_some() && self.fields.cut.is_empty() {
            self.raw.clone()
        } else {
            self.clean_json(own_id.is_none().then_some(&*doc_id))
        };
        Ok(Some(File {
            id: own_id.as_ref().unwrap_or(&doc_id).as_ref().into(),
            doc_id: doc_id.as_ref().into(),
            user: user.as_ref().into(),
            created,
            json,
        }))
    }

    /// What a row of the export says: a file, or that the document is no longer anybody's.
    pub fn change(&self) -> Result<FileChange, ConvexError> {
        let ts = self
            .text(&self.fields.ts)
            .and_then(|number| number.parse().ok());
        Ok(FileChange {
            ts: ts.ok_or_else(|| malformed("an exported row without an integer _ts"))?,
            doc_id: self.doc_id()?.into(),
            file: if self.fields.deleted {
                None
            } else {
                self.file()?
            },
        })
    }

    fn text(&self, value: &Option<Range<usize>>) -> Option<&str> {
        std::str::from_utf8(&self.raw[value.clone()?]).ok()
    }

    /// A field's value if it is a non-empty string.
    fn string(&self, value: &Option<Range<usize>>) -> Result<Option<Cow<'_, str>>, ConvexError> {
        non_empty(self.text(value))
    }

    /// The document without the members that are cut, and with an `id` at the front if one is
    /// given.
    fn clean_json(&self, id: Option<&str>) -> Bytes {
        let mut json = Vec::with_capacity(self.raw.len() + 48);
        json.push(b'{');
        if let Some(id) = id {
            // An _id is letters and digits; nothing in it needs an escape.
            json.extend_from_slice(b"\"id\":\"");
            json.extend_from_slice(id.as_bytes());
            json.push(b'"');
            if self.fields.kept > 0 {
                json.push(b',');
            }
        }
        // Everything between two members that are cut, its outer commas and spaces trimmed, is a
        // run of whole members.
        let body = 1..self.raw.len() - 1;
        let starts = std::iter::once(body.start).chain(self.fields.cut.iter().map(|cut| cut.end));
        let ends = self
            .fields
            .cut
            .iter()
            .map(|cut| cut.start)
            .chain(std::iter::once(body.end));
        let mut first = true;
        for (start, end) in starts.zip(ends) {
            let run = trim_members(&self.raw[start..end]);
            if run.is_empty() {
                continue;
            }
            if !std::mem::take(&mut first) {
                json.push(b',');
            }
            json.extend_from_slice(run);
        }
        json.push(b'}');
        json.into()
    }
}

fn trim_members(mut run: &[u8]) -> &[u8] {
    let outer = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',');
    while let [first, rest @ ..] = run
        && outer(first)
    {
        run = rest;
    }
    while let [rest @ .., last] = run
        && outer(last)
    {
        run = rest;
    }
    run
}

/// The value of a raw JSON string; `None` for a value of another kind.
fn string(raw: &str) -> Option<Result<Cow<'_, str>, ConvexError>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    Some(if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        Ok(Cow::Borrowed(inner))
    } else {
        serde_json::from_str(raw)
            .map(Cow::Owned)
            .map_err(|_| malformed("a bad escape in a string"))
    })
}

fn non_empty(raw: Option<&str>) -> Result<Option<Cow<'_, str>>, ConvexError> {
    Ok(raw
        .and_then(string)
        .transpose()?
        .filter(|text| !text.is_empty()))
}

/// One pass over an object's top-level members; nested values are skipped by their brackets.
fn scan(text: &str) -> Result<Fields, ConvexError> {
    let mut fields = Fields::default();
    let mut cursor = Cursor { text, at: 0 };
    cursor.expect(b'{')?;
    if cursor.peek() == Some(b'}') {
        cursor.at += 1;
    } else {
        loop {
            cursor.skip_space();
            let start = cursor.at;
            let raw_key = cursor.string()?;
            let key = string(raw_key).transpose()?.unwrap_or_default();
            cursor.expect(b':')?;
            let value = cursor.value()?;
            fields.note(&key, value, start..cursor.at)?;
            match cursor.next() {
                Some(b',') => {}
                Some(b'}') => break,
                _ => return Err(malformed("expected a comma or the end of a document")),
            }
        }
    }
    // The slice was cut at the closing bracket of the object; more behind it cannot be.
    if cursor.at != text.len() {
        Err(malformed("text behind a document"))
    } else {
        Ok(fields)
    }
}

impl Fields {
    fn note(&mut self, key: &str, value: &str, member: Range<usize>) -> Result<(), ConvexError> {
        let range = member.end - value.len()..member.end;
        let cut = match key {
            "_id" => {
                self.doc_id = Some(range);
                false
            }
            "_creationTime" => {
                self.created = Some(range);
                false
            }
            "user" => {
                self.user = Some(range);
                false
            }
            "id" => {
                self.id = Some(range);
                // Replaced by the _id at the front.
                non_empty(Some(value))?.is_none()
            }
            "_table" => {
                self.table = Some(range);
                true
            }
            "_deleted" => {
                self.deleted = value == "true";
                true
            }
            "_ts" => {
                self.ts = Some(range);
                true
            }
            "_component" => true,
            _ => false,
        };
        if cut {
            self.cut.push(member);
        } else {
            self.kept += 1;
        }
        Ok(())
    }
}

fn malformed(what: &str) -> ConvexError {
    ConvexError::Malformed(what.to_owned())
}

#[cfg(test)]
mod tests;
