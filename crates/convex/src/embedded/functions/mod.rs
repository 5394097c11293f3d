//! The Convex functions that read and delete one user's files by index, answered natively:
//! `sluice:byUser`, `sluice:getMany` and `sluice:remove`. Each costs what the files it touches
//! cost, whatever else the table holds.

mod args;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::params;

use self::args::{count, function_name, invalid, is_string, missing, only, string, strings};
use crate::embedded::catalog::{FILES, FILES_BY_USER, FILES_BY_USER_ID, ROOT, Tablet};
use crate::embedded::document;
use crate::embedded::error::RequestError;
use crate::embedded::id::DocumentId;
use crate::embedded::index_key::{SUFFIX_BYTES, end_of, prefix};
use crate::embedded::page::PageSink;
use crate::embedded::store::{Reader, current_revision};
use crate::embedded::transaction::Transaction;
use crate::embedded::value::{Format, Object, Value, write_string};

/// What one call may read, in documents and in bytes of them.
const MAX_DOCUMENTS: usize = 16_384;
const MAX_BYTES: usize = 8 << 20;
/// `getMany` and `remove` stop after the document with which they have read so many bytes.
const ENOUGH_BYTES: usize = 4 << 20;
/// The cursor after the last document.
const END_CURSOR: &str = "_end";

/// Why a function did not return: answered as 200 with `status: "error"`.
#[derive(Debug)]
pub(super) enum FunctionError {
    /// What the function would have thrown.
    Thrown(String),
    /// The server failed, not the function.
    Request(RequestError),
}

impl<E: Into<RequestError>> From<E> for FunctionError {
    fn from(error: E) -> FunctionError {
        FunctionError::Request(error.into())
    }
}

/// A query, its arguments checked.
#[derive(Debug)]
pub(super) enum Query {
    ByUser(ByUser),
    GetMany { user: String, ids: Vec<String> },
}

/// A mutation, its arguments checked.
#[derive(Debug)]
pub(super) enum Mutation {
    Remove { user: String, ids: Vec<String> },
}

/// One page of a user's files, newest first.
#[derive(Debug)]
pub(super) struct ByUser {
    user: String,
    documents: usize,
    bytes: usize,
    cursor: Option<String>,
}

impl Query {
    pub fn parse(path: &str, args: Object) -> Result<Query, String> {
        match function_name(path) {
            Some("byUser") => ByUser::parse(args).map(Query::ByUser),
            Some("getMany") => {
                only(&args, &["user", "ids"])?;
                Ok(Query::GetMany {
                    user: string(&args, "user")?,
                    ids: strings(&args, "ids")?,
                })
            }
            Some("remove") => Err(format!("'{path}' is a mutation, not a query.")),
            _ => Err(missing(path)),
        }
    }

    /// Writes the function's value.
    pub fn run(
        &self,
        reader: &Reader,
        format: Format,
        sink: &mut PageSink,
    ) -> Result<(), FunctionError> {
        match self {
            Query::ByUser(page) => page.run(reader, format, sink),
            Query::GetMany { user, ids } => get_many(reader, user, ids, format, sink),
        }
    }
}

impl Mutation {
    pub fn parse(path: &str, args: Object) -> Result<Mutation, String> {
        match function_name(path) {
            Some("remove") => {
                only(&args, &["user", "docIds"])?;
                Ok(Mutation::Remove {
                    user: string(&args, "user")?,
                    ids: strings(&args, "docIds")?,
                })
            }
            Some("byUser" | "getMany") => Err(format!("'{path}' is a query, not a mutation.")),
            _ => Err(missing(path)),
        }
    }

    pub fn run(&self, transaction: &mut Transaction) -> Result<Value, RequestError> {
        let Mutation::Remove { user, ids } = self;
        let Some(tablet) = transaction.catalog().table(ROOT, FILES).cloned() else {
            return Ok(removed(0, ids.len()));
        };
        let (mut deleted, mut answered, mut bytes) = (0, 0, 0);
        for id in ids {
            if bytes >= ENOUGH_BYTES {
                break;
            }
            answered += 1;
            let id = DocumentId::parse(id).filter(|id| id.table == tablet.number);
            let Some(id) = id else { continue };
            let Some(current) = transaction.get(tablet.id, id.internal)? else {
                continue;
            };
            bytes += current.bytes;
            let owner = current.fields.get("user");
            if owner.is_some_and(|owner| is_string(owner, user)) {
                transaction.delete(tablet.id, &current);
                deleted += 1;
            }
        }
        Ok(removed(deleted, answered))
    }
}

/// How many documents were deleted, and how many of the ids looked at.
fn removed(deleted: usize, answered: usize) -> Value {
    let count = |name: &str, count: usize| (name.to_owned(), Value::Float64(count as f64));
    Value::Object(Object::from([
        count("deleted", deleted),
        count("answered", answered),
    ]))
}

impl ByUser {
    fn parse(args: Object) -> Result<ByUser, String> {
        only(&args, &["user", "paginationOpts"])?;
        let user = string(&args, "user")?;
        let Some(Value::Object(options)) = args.get("paginationOpts") else {
            return Err(invalid("paginationOpts", "an object"));
        };
        let cursor = match options.get("cursor") {
            None | Some(Value::Null) => None,
            Some(Value::String(cursor)) => Some(cursor.clone()),
            Some(_) => return Err(invalid("paginationOpts.cursor", "a string or null")),
        };
        Ok(ByUser {
            user,
            documents: count(options, "numItems")?
                .ok_or_else(|| invalid("paginationOpts.numItems", "a number of at least 1"))?
                .min(MAX_DOCUMENTS),
            bytes: count(options, "maximumBytesRead")?
                .map_or(MAX_BYTES, |bytes| bytes.min(MAX_BYTES)),
            cursor,
        })
    }

    fn run(
        &self,
        reader: &Reader,
        format: Format,
        sink: &mut PageSink,
    ) -> Result<(), FunctionError> {
        sink.push("{\"page\":[");
        let tablet = reader.state.catalog.table(ROOT, FILES);
        let index = tablet.and_then(|tablet| tablet.index(FILES_BY_USER));
        let next = match index {
            Some(index) if self.cursor.as_deref() != Some(END_CURSOR) => {
                self.write_page(reader, index.id, format, sink)?
            }
            _ => None,
        };
        sink.push(&format!(
            "],\"isDone\":{},\"continueCursor\":",
            next.is_none()
        ));
        write_string(next.as_deref().unwrap_or(END_CURSOR), sink.text());
        sink.push("}");
        Ok(())
    }

    /// Writes documents down from the cursor. Returns the cursor to go on from, unless the index
    /// ran out.
    ///
    /// The cursor names the last document's place in the index, so what is written or deleted
    /// meanwhile moves nothing.
    fn write_page(
        &self,
        reader: &Reader,
        index: u32,
        format: Format,
        sink: &mut PageSink,
    ) -> Result<Option<String>, FunctionError> {
        let user = Value::String(self.user.clone());
        let start = prefix(index, [Some(&user)]);
        let end = match &self.cursor {
            None => end_of(&start),
            Some(cursor) => self.place(cursor, &start)?,
        };
        let mut query = reader.db()?.prepare_cached(
            "SELECT entries.key, revisions.tagged, revisions.body
             FROM entries CROSS JOIN revisions ON revisions.seq = entries.seq
             WHERE entries.key >= ?1 AND entries.key < ?2 ORDER BY entries.key DESC",
        )?;
        let mut rows = query.query(params![start, end])?;
        let (mut documents, mut bytes) = (0, 0);
        let mut last: Vec<u8> = Vec::new();
        while let Some(row) = rows.next()? {
            reader.touch();
            let text = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            bytes += text.len();
            if documents == self.documents || (documents > 0 && bytes > self.bytes) {
                return Ok(Some(cursor_text(&last, &start)));
            }
            if documents > 0 {
                sink.push(",");
            }
            document::write(text, row.get(1)?, format, sink.text())?;
            sink.flush_full()?;
            documents += 1;
            last.clear();
            last.extend_from_slice(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
        }
        Ok(None)
    }

    /// The index key that a cursor of this user stands for.
    fn place(&self, cursor: &str, start: &[u8]) -> Result<Vec<u8>, FunctionError> {
        let tail = URL_SAFE_NO_PAD.decode(cursor).ok();
        let tail = tail.filter(|tail| {
            tail.len() == start.len() - 4 + SUFFIX_BYTES && tail.starts_with(&start[4..])
        });
        match tail {
            Some(tail) => Ok([&start[..4], &tail].concat()),
            None => Err(FunctionError::Thrown(
                "InvalidCursor: the cursor is not one of this query.".to_owned(),
            )),
        }
    }
}

/// A key without the number of its index, which changes when the table is cleared.
fn cursor_text(key: &[u8], start: &[u8]) -> String {
    debug_assert!(key.starts_with(start));
    URL_SAFE_NO_PAD.encode(key.get(4..).unwrap_or_default())
}

/// Writes the files that are found, and how many of the ids were looked for.
fn get_many(
    reader: &Reader,
    user: &str,
    ids: &[String],
    format: Format,
    sink: &mut PageSink,
) -> Result<(), FunctionError> {
    sink.push("{\"page\":[");
    let mut answered = ids.len();
    if let Some(tablet) = reader.state.catalog.table(ROOT, FILES) {
        let (mut bytes, mut separator) = (0, "");
        for (place, id) in ids.iter().enumerate() {
            if bytes >= ENOUGH_BYTES {
                answered = place;
                break;
            }
            let Some((text, tagged)) = find_file(reader, tablet, user, id)? else {
                continue;
            };
            bytes += text.len();
            sink.push(separator);
            document::write(&text, tagged, format, sink.text())?;
            sink.flush_full()?;
            separator = ",";
        }
    }
    sink.push("],\"answered\":");
    Value::Float64(answered as f64).write(format, sink.text());
    sink.push("}");
    Ok(())
}

/// The user's newest file with this `id`, or else the one with this `_id`.
fn find_file(
    reader: &Reader,
    tablet: &Tablet,
    user: &str,
    id: &str,
) -> Result<Option<(Vec<u8>, bool)>, FunctionError> {
    if let Some(index) = tablet.index(FILES_BY_USER_ID) {
        let values = [Value::String(user.to_owned()), Value::String(id.to_owned())];
        let start = prefix(index.id, values.iter().map(Some));
        let mut query = reader.db()?.prepare_cached(
            "SELECT revisions.body, revisions.tagged
             FROM entries CROSS JOIN revisions ON revisions.seq = entries.seq
             WHERE entries.key >= ?1 AND entries.key < ?2 ORDER BY entries.key DESC LIMIT 1",
        )?;
        let mut rows = query.query(params![start, end_of(&start)])?;
        if let Some(row) = rows.next()? {
            reader.touch();
            return Ok(Some((row.get(0)?, row.get(1)?)));
        }
    }
    let Some(id) = DocumentId::parse(id).filter(|id| id.table == tablet.number) else {
        return Ok(None);
    };
    let Some((text, tagged)) = current_revision(reader.db()?, tablet.id, id.internal)? else {
        return Ok(None);
    };
    reader.touch();
    let fields = document::fields(&text, tagged)?;
    let owned = fields
        .get("user")
        .is_some_and(|owner| is_string(owner, user));
    Ok(owned.then_some((text, tagged)))
}

#[cfg(test)]
mod tests;
