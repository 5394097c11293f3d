//! `POST /api/import`: documents for one table of any component, as JSON lines or as one JSON array. The way to write into components,
//! which the streaming import does not reach.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use tempfile::SpooledTempFile;

use super::catalog::{Catalog, ROOT};
use super::document::Draft;
use super::error::RequestError;
use super::names::{check_field_names, is_component_path, is_identifier};
use super::transaction::Transaction;
use super::value::Value;

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

/// What becomes of the documents that are there.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// There may be none.
    RequireEmpty,
    Append,
    Replace,
}

impl TableImport {
    /// Errors: 400 `BadQueryArgs`, `InvalidName`, `ImportInvalidName` or `ImportFormatNotSupported`.
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

    /// Makes the table ready for the documents, in the first transaction of the import. Errors: as above.
    pub fn begin(&self, transaction: &mut Transaction) -> Result<(), RequestError> {
        self.check(transaction.catalog())?;
        if self.mode == Mode::Replace && self.count(transaction.catalog()) > 0 {
            return transaction.clear_table(&self.component, &self.table);
        }
        transaction.table(&self.component, &self.table).map(|_| ())
    }

    fn count(&self, catalog: &Catalog) -> i64 {
        let tablet = catalog.table(&self.component, &self.table);
        tablet.map_or(0, |tablet| tablet.shape.count)
    }

    pub fn insert(
        &self,
        documents: &[Draft],
        transaction: &mut Transaction,
    ) -> Result<(), RequestError> {
        let tablet = transaction.table(&self.component, &self.table)?;
        for document in documents {
            transaction.insert(tablet, document);
        }
        Ok(())
    }
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

    /// The documents of the next transaction. `None`: there are no more. Errors: 400 `ImportFailed`, or one of the document limits.
    pub fn next(&mut self) -> Result<Option<Vec<Draft>>, RequestError> {
        match self.format {
            ImportFormat::JsonLines => self.next_lines(),
            ImportFormat::JsonArray => self.array(),
        }
    }

    fn next_lines(&mut self) -> Result<Option<Vec<Draft>>, RequestError> {
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
                documents.push(draft(value).map_err(at_line)?);
            }
        }
        Ok((bytes > 0).then_some(documents))
    }

    fn array(&mut self) -> Result<Option<Vec<Draft>>, RequestError> {
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
        let documents: Result<Vec<Draft>, RequestError> = values.into_iter().map(draft).collect();
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
fn draft(value: Value) -> Result<Draft, RequestError> {
    let Some(Value::Object(fields)) = value.untag() else {
        return Err(failed("a document has to be an object".to_owned()));
    };
    check_field_names(&fields).map_err(failed)?;
    Draft::new(fields)
}

fn failed(reason: String) -> RequestError {
    RequestError::bad_request(
        "ImportFailed",
        format!("A document cannot be read: {reason}."),
    )
}
