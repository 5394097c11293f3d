//! The streaming import.

use std::collections::BTreeMap;
use std::io::Read;

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;

use super::incoming::{Incoming, parse_json};
use super::{Answer, blocking};
use crate::embedded::auth::Permission;
use crate::embedded::catalog::{PRIMARY_KEY, ROOT};
use crate::embedded::error::RequestError;
use crate::embedded::import::{ClearBody, Import, ImportBody, IndexesBody, ReadyBody, ReplaceBody};
use crate::embedded::names::StreamName;

/// The largest body of an import.
const IMPORT_BODY_LIMIT: usize = 20 << 20;

pub(super) async fn primary_key_indexes_ready(mut request: Incoming) -> Answer {
    request.caller()?.may(Permission::ImportBackups)?;
    let body: ReadyBody = request.json().await?;
    let state = request.embedded.inner.store.state();
    let mut ready = true;
    for name in body.tables {
        let stream = StreamName::new(&name)?;
        let tablet = state.catalog.table(ROOT, &stream.table);
        let index = tablet.and_then(|tablet| tablet.index(PRIMARY_KEY));
        let index = index.ok_or_else(|| {
            RequestError::bad_request(
                "MissingIndex",
                format!("The table {name:?} has no primary key index."),
            )
        })?;
        ready &= index.is_ready();
    }
    Ok(Json(json!({ "indexesReady": ready })).into_response())
}

pub(super) async fn add_primary_key_indexes(mut request: Incoming) -> Answer {
    request.caller()?.may(Permission::ImportBackups)?;
    let body: IndexesBody = request.json().await?;
    let indexes = body.check()?;
    let add = request.embedded.inner.writer.write(move |transaction| {
        for (stream, key) in indexes {
            let tablet = transaction.stream_table(&stream)?;
            transaction.add_index(tablet, PRIMARY_KEY, key);
        }
        Ok(())
    });
    add.await?;
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn clear_tables(mut request: Incoming) -> Answer {
    request.caller()?.may(Permission::ImportBackups)?;
    let body: ClearBody = request.json().await?;
    let streams = body.table_names.into_iter().map(|name| {
        let stream = StreamName::new(&name)?;
        Ok((name, stream))
    });
    let streams: BTreeMap<String, StreamName> = streams.collect::<Result<_, RequestError>>()?;
    let clear = request.embedded.inner.writer.write(move |transaction| {
        streams
            .values()
            .try_for_each(|stream| transaction.clear_stream(stream))
    });
    clear.await?;
    Ok(StatusCode::OK.into_response())
}

/// Always refused, as Convex does: the permission is not even looked at.
pub(super) async fn replace_tables(mut request: Incoming) -> Answer {
    request.caller()?;
    request.json::<ReplaceBody>().await?;
    Err(RequestError::bad_request(
        "OverwriteNotSupported",
        "Tables cannot be replaced; clear them and import into them.",
    ))
}

pub(super) async fn import_airbyte_records(mut request: Incoming) -> Answer {
    request.caller()?.may(Permission::ImportBackups)?;
    let embedded = request.embedded.clone();
    let mut body = request.json_spool(IMPORT_BODY_LIMIT).await?;
    // The body is here: nobody waits for this client's network.
    let _permit = embedded.inner.imports.acquire().await;
    let mut import = blocking(move || {
        let mut text = Vec::new();
        body.read_to_end(&mut text)?;
        drop(body);
        Import::new(parse_json::<ImportBody>(&text)?)
    })
    .await?;
    loop {
        let (chunk, rest) = blocking(move || Ok((import.next_chunk(), import))).await?;
        import = rest;
        let Some(chunk) = chunk else { break };
        embedded
            .inner
            .writer
            .write(move |transaction| chunk.apply(transaction))
            .await?;
    }
    Ok(StatusCode::OK.into_response())
}
