//! `POST /api/import`: documents for one table of any component, as JSON lines or as one JSON
//! array. The way to write into components, which the streaming import does not reach, and to
//! restore what was exported with its ids and creation times.

mod ids;

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use tempfile::SpooledTempFile;

use super::catalog::{Catalog, ROOT};
use super::document::Draft;
use super::error::RequestError;
use super::id::{DocumentId, FIRST_TABLE_NUMBER};
use super::names::{check_field_names, is_component_path, is_identifier};
use super::store::{Reader, current_revision};
use super::transaction::Transaction;
use super::value::Value;

pub(super) use self::ids::ImportedIds;

/// JSON lines that one transaction writes, in bytes. Also the longest line.
const TRANSACTION_BYTES: usize = 4 << 20;
/// The largest JSON array.
const ARRAY_BYTES: usize = 20 << 20;

/// What is imported where.
#[derive(Clone)]
pub(super) struct TableImport {
    component: String,
    table: String,
    mode: Mode,
    pub format: ImportFormat,
}

/// How the documents are written.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum ImportFormat {
    JsonLines,
    JsonArray,
}

/// What happens to the documents that are there.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// There may be none.
    RequireEmpty,
    Append,
    Replace,
}

impl TableImport {
    /// Errors: 400 `BadQueryArgs`, `InvalidName`, `ImportInvalidName` or
    /// `ImportFormatNotSupported`.
    pub fn new(
        table: Option<String>,
        component: Option<String>,
        format: Option<&str>,
        mode: Option<&str>,
    ) -> Result<TableImport, RequestError> {
        let refuse = |code, message: &str| Err(RequestError::bad_request(code, message));
        let format = match format {
            Some("jsonLines") => ImportFormat::JsonLines,
            Some("jsonArray") => ImportFormat::JsonArray,
            Some("csv" | "zip") => {
                return refuse(
                    "ImportFormatNotSupported",
                    "This store imports jsonLines and jsonArray.",
                );
            }
            _ => return refuse("BadQueryArgs", "format has to be jsonLines or jsonArray."),
        };
        let mode = match mode {
            None | Some("requireEmpty") => Mode::RequireEmpty,
            Some("append") => Mode::Append,
            Some("replace") => Mode::Replace,
            _ => {
                return refuse(
                    "BadQueryArgs",
                    "mode has to be requireEmpty, append or replace.",
                );
            }
        };
        let Some(table) = table else {
            return refuse("InvalidName", "tableName is missing.");
        };
        if !is_identifier(&table) || table.starts_with('_') {
            return refuse(
                "ImportInvalidName",
                "tableName cannot be the name of a table.",
            );
        }
        let component = component.unwrap_or_else(|| ROOT.to_owned());
        if !is_component_path(&component) {
            return refuse(
                "ImportInvalidName",
                "componentPath has to be names of letters, digits and underscores, joined by slashes.",
            );
        }
        Ok(TableImport {
            component,
            table,
            mode,
            format,
        })
    }

    /// Whether the table is as the mode wants it. Error: 400 `TableExists`.
    pub fn check(&self, catalog: &Catalog) -> Result<(), RequestError> {
        if self.mode == Mode::RequireEmpty && self.count(catalog) > 0 {
            return Err(RequestError::bad_request(
                "TableExists",
                format!(
                    "The table {:?} is not empty. Import with mode=append or mode=replace.",
                    self.table
                ),
            ));
        }
        Ok(())
    }

    /// Makes the table ready for the documents, in the first transaction of the import. `number` is
    /// the table number of their ids, if they have any. Errors: as above; 400 `ImportConflict` or
    /// `TableConflict` when the table cannot have documents of these ids.
    pub fn begin(
        &self,
        number: Option<u32>,
        transaction: &mut Transaction,
    ) -> Result<(), RequestError> {
        self.check(transaction.catalog())?;
        if self.mode == Mode::Replace && self.count(transaction.catalog()) > 0 {
            transaction.clear_table(&self.component, &self.table)?;
        }
        match number {
            Some(number) => transaction.number_table(&self.component, &self.table, number),
            None => transaction.table(&self.component, &self.table).map(|_| ()),
        }
    }

    fn count(&self, catalog: &Catalog) -> i64 {
        let tablet = catalog.table(&self.component, &self.table);
        tablet.map_or(0, |tablet| tablet.shape.count)
    }

    /// Error: 400 `ImportConflict` when an id is not one of the table's, or is taken.
    pub fn insert(
        &self,
        documents: &[Document],
        transaction: &mut Transaction,
    ) -> Result<(), RequestError> {
        let tablet = transaction.table(&self.component, &self.table)?;
        for Document {
            draft,
            id,
            creation_time,
        } in documents
        {
            transaction.restore(tablet, draft, *id, *creation_time)?;
        }
        Ok(())
    }

    /// Whether the table has one of these documents already. `reader` may be older than the
    /// transaction that writes them.
    pub fn check_absent(
        &self,
        documents: &[Document],
        reader: &Reader,
    ) -> Result<(), RequestError> {
        let table = reader.state.catalog.table(&self.component, &self.table);
        let kept = table.filter(|_| self.mode == Mode::Append);
        let Some(tablet) = kept else { return Ok(()) };
        for id in documents.iter().filter_map(|document| document.id) {
            if id.table == tablet.number
                && current_revision(reader.db()?, tablet.id, id.internal)?.is_some()
            {
                return Err(id.conflict());
            }
        }
        Ok(())
    }
}

/// One document of an import.
pub(super) struct Document {
    draft: Draft,
    /// As it was exported.
    id: Option<DocumentId>,
    /// ms since the epoch, as it was exported.
    creation_time: Option<f64>,
}

/// The documents of a body, some MiB at a time.
pub(super) struct Documents {
    body: BufReader<SpooledTempFile>,
    format: ImportFormat,
    place: Place,
}

/// Where in a body the next documents begin.
#[derive(Clone, Copy)]
pub(super) struct Place {
    bytes: u64,
    lines: usize,
}

impl Documents {
    pub fn new(body: SpooledTempFile, format: ImportFormat) -> Documents {
        Documents {
            body: BufReader::new(body),
            format,
            place: Place { bytes: 0, lines: 0 },
        }
    }

    pub fn place(&self) -> Place {
        self.place
    }

    pub fn go_to(&mut self, place: Place) -> Result<(), RequestError> {
        self.body.seek(SeekFrom::Start(place.bytes))?;
        self.place = place;
        Ok(())
    }

    /// The documents of the next transaction. `None`: there are no more. Errors: 400
    /// `ImportFailed`, `InvalidId`, or one of the document limits.
    pub fn next(&mut self) -> Result<Option<Vec<Document>>, RequestError> {
        match self.format {
            ImportFormat::JsonLines => self.next_lines(),
            ImportFormat::JsonArray => self.array(),
        }
    }

    fn next_lines(&mut self) -> Result<Option<Vec<Document>>, RequestError> {
        let (mut documents, mut bytes) = (Vec::new(), 0);
        let mut line = Vec::new();
        while bytes < TRANSACTION_BYTES {
            line.clear();
            let limit = TRANSACTION_BYTES as u64;
            let read = (&mut self.body)
                .take(limit + 1)
                .read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            let first = self.place.lines == 0;
            self.place.lines += 1;
            self.place.bytes += read as u64;
            bytes += read;
            let at_line = |error: RequestError| RequestError {
                message: format!("Line {}: {}", self.place.lines, error.message),
                ..error
            };
            if read > TRANSACTION_BYTES {
                let reason = format!("it is longer than {TRANSACTION_BYTES} bytes");
                return Err(at_line(failed(reason)));
            }
            let text = if first {
                without_mark(&line)
            } else {
                &line[..]
            };
            if !text.iter().all(u8::is_ascii_whitespace) {
                // The parser counts lines, too, and of this text there is one.
                let value = serde_json::from_slice(text)
                    .map_err(|error| at_line(failed(unplaced(&error))))?;
                documents.push(document(value).map_err(at_line)?);
            }
        }
        Ok((bytes > 0).then_some(documents))
    }

    fn array(&mut self) -> Result<Option<Vec<Document>>, RequestError> {
        if self.place.bytes > 0 {
            return Ok(None);
        }
        let mut text = Vec::new();
        let limit = ARRAY_BYTES as u64;
        let read = (&mut self.body).take(limit + 1).read_to_end(&mut text)?;
        self.place.bytes = read as u64;
        if read > ARRAY_BYTES {
            let reason = format!("the array is longer than {ARRAY_BYTES} bytes");
            return Err(failed(reason));
        }
        let values: Vec<Value> = serde_json::from_slice(without_mark(&text))
            .map_err(|error| failed(error.to_string()))?;
        let documents: Result<_, RequestError> = values.into_iter().map(document).collect();
        documents.map(Some)
    }
}

/// A text without the byte order mark that some editors put in front.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn unplaced(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = text.strip_suffix(&place).unwrap_or(&text);
    format!("{reason} at column {}", error.column())
}

/// Tags are honoured, and all numbers are floats.
fn document(value: Value) -> Result<Document, RequestError> {
    let Some(Value::Object(mut fields)) = value.untag() else {
        return Err(failed("a document has to be an object".to_owned()));
    };
    check_field_names(&fields).map_err(failed)?;
    let id = fields.remove("_id").map(document_id).transpose()?;
    let creation_time = match fields.remove("_creationTime") {
        None => None,
        Some(Value::Float64(time)) if time.is_finite() && time > 0.0 => Some(time),
        Some(_) => {
            let reason = "_creationTime has to be a positive number of milliseconds";
            return Err(failed(reason.to_owned()));
        }
    };
    Ok(Document {
        draft: Draft::new(fields)?,
        id,
        creation_time,
    })
}

/// The tables and documents that Convex has for itself have the numbers below.
fn document_id(value: Value) -> Result<DocumentId, RequestError> {
    let id = match &value {
        Value::String(text) => DocumentId::parse(text),
        _ => None,
    };
    id.filter(|id| id.table >= FIRST_TABLE_NUMBER && id.internal > 0)
        .ok_or_else(|| {
            RequestError::bad_request("InvalidId", "_id is not the id of a table's document.")
        })
}

fn failed(reason: String) -> RequestError {
    RequestError::bad_request(
        "ImportFailed",
        format!("A document cannot be read: {reason}."),
    )
}
