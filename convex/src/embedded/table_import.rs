//! `POST /api/import`: documents for one table of any component, as JSON lines or as one JSON array. The way to write into components,
//! which the streaming import does not reach.

use super::catalog::ROOT;
use super::document::Draft;
use super::error::RequestError;
use super::names::{check_field_names, is_component_path, is_identifier};
use super::transaction::Transaction;
use super::value::Value;

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

    /// Makes the table ready for the documents: the first transaction of the import. Error: 400 `TableExists`.
    pub fn begin(&self, transaction: &mut Transaction) -> Result<(), RequestError> {
        let tablet = transaction.catalog().table(&self.component, &self.table);
        let documents = tablet.map_or(0, |tablet| tablet.shape.count);
        match self.mode {
            Mode::RequireEmpty if documents > 0 => Err(RequestError::bad_request(
                "TableExists",
                format!(
                    "The table {:?} is not empty. Import with mode=append or mode=replace.",
                    self.table
                ),
            )),
            Mode::Replace if documents > 0 => transaction.clear_table(&self.component, &self.table),
            _ => transaction.table(&self.component, &self.table).map(|_| ()),
        }
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

/// Reads the documents of some lines. Errors: 400 `ImportFailed`, or one of the document limits.
pub(super) fn read_lines(lines: &[u8]) -> Result<Vec<Draft>, RequestError> {
    let lines = lines.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    let documents = lines.map(|line| {
        let value = serde_json::from_slice(line).map_err(|error| failed(error.to_string()))?;
        draft(value)
    });
    documents.collect()
}

/// Reads the documents of an array. Errors: as for lines.
pub(super) fn read_array(text: &[u8]) -> Result<Vec<Draft>, RequestError> {
    let values: Vec<Value> =
        serde_json::from_slice(text).map_err(|error| failed(error.to_string()))?;
    values.into_iter().map(draft).collect()
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
