//! The import of one table.

use axum::Json;
use axum::response::IntoResponse;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::json;

use super::incoming::Incoming;
use super::{Answer, blocking};
use crate::embedded::Embedded;
use crate::embedded::auth::Permission;
use crate::embedded::document::Draft;
use crate::embedded::error::RequestError;
use crate::embedded::table_import::{ImportFormat, TableImport, read_array, read_lines};

/// JSON lines that one transaction writes, in bytes. Also the longest line.
const TRANSACTION_BYTES: usize = 4 << 20;
/// The largest JSON array.
const ARRAY_BYTES: usize = 20 << 20;

/// Takes in JSON lines as they arrive, each few MiB a transaction of their own: what came before an error stays.
pub(super) async fn import(request: Incoming) -> Answer {
    let caller = request.caller()?;
    let parameters = request.parameters();
    let import = TableImport::new(
        parameters.text("tableName")?,
        parameters.text("componentPath")?,
        parameters.text("format")?.as_deref(),
        parameters.text("mode")?.as_deref(),
    )?;
    caller.may(Permission::ImportBackups)?;
    let embedded = request.embedded.clone();
    let _permit = embedded.inner.imports.acquire().await;
    let begin = import.clone();
    embedded
        .inner
        .writer
        .write(move |transaction| begin.begin(transaction))
        .await?;
    let (limit, format) = match import.format {
        ImportFormat::JsonLines => (TRANSACTION_BYTES, "line"),
        ImportFormat::JsonArray => (ARRAY_BYTES, "array"),
    };
    let mut body = request.into_body().into_data_stream();
    let (mut text, mut written) = (BytesMut::new(), 0);
    while let Some(chunk) = body.next().await {
        text.extend_from_slice(&chunk.map_err(|_| failed("the body did not arrive in full"))?);
        if text.len() < limit {
            continue;
        }
        let whole_lines = text.iter().rposition(|byte| *byte == b'\n');
        let Some(end) = whole_lines.filter(|_| import.format == ImportFormat::JsonLines) else {
            return Err(failed(&format!(
                "the {format} is longer than {limit} bytes"
            )));
        };
        let lines = text.split_to(end + 1).freeze();
        written += write(&embedded, &import, lines, read_lines).await?;
    }
    let read = match import.format {
        ImportFormat::JsonLines => read_lines,
        ImportFormat::JsonArray => read_array,
    };
    written += write(&embedded, &import, text.freeze(), read).await?;
    Ok(Json(json!({ "numWritten": written })).into_response())
}

async fn write(
    embedded: &Embedded,
    import: &TableImport,
    text: Bytes,
    read: fn(&[u8]) -> Result<Vec<Draft>, RequestError>,
) -> Result<usize, RequestError> {
    let documents = blocking(move || read(&text)).await?;
    let (import, count) = (import.clone(), documents.len());
    if count > 0 {
        embedded
            .inner
            .writer
            .write(move |transaction| import.insert(&documents, transaction))
            .await?;
    }
    Ok(count)
}

fn failed(reason: &str) -> RequestError {
    RequestError::bad_request("ImportFailed", format!("The import failed: {reason}."))
}
