//! The import of one table.

use axum::Json;
use axum::response::IntoResponse;
use serde_json::json;

use super::incoming::Incoming;
use super::{Answer, blocking};
use crate::embedded::auth::Permission;
use crate::embedded::table_import::{Document, Documents, ImportedIds, TableImport};

/// Takes in the whole body, checks all of it, and only then writes: each few MiB of JSON lines are
/// a transaction.
pub(super) async fn import(mut request: Incoming) -> Answer {
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
    import.check(&embedded.inner.store.state().catalog)?;
    let body = request.spool(usize::MAX).await?;
    // The body is here: nobody waits for this client's network.
    let _permit = embedded.inner.imports.acquire().await;
    let format = import.format;
    let store = embedded.inner.store.clone();
    let checked = import.clone();
    let (documents, number, mut body) = blocking(move || {
        let mut body = Documents::new(body, format);
        let first = body.next()?.unwrap_or_default();
        let rest = body.place();
        let mut ids = ImportedIds::default();
        let mut check = |documents: &[Document]| {
            ids.add(documents)?;
            checked.check_absent(documents, &store.reader()?)
        };
        check(&first)?;
        while let Some(documents) = body.next()? {
            check(&documents)?;
        }
        body.go_to(rest)?;
        Ok((first, ids.table(), body))
    })
    .await?;
    let mut written = documents.len();
    let begin = import.clone();
    let writer = &embedded.inner.writer;
    let first = writer.write(move |transaction| {
        begin.begin(number, transaction)?;
        begin.insert(&documents, transaction)
    });
    first.await?;
    loop {
        let (documents, rest) = blocking(move || Ok((body.next()?, body))).await?;
        body = rest;
        let Some(documents) = documents else { break };
        written += documents.len();
        let import = import.clone();
        let insert = writer.write(move |transaction| import.insert(&documents, transaction));
        insert.await?;
    }
    Ok(Json(json!({ "numWritten": written })).into_response())
}
