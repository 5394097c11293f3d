//! The streaming import.

use std::collections::BTreeSet;

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;

use super::Answer;
use super::blocking;
use super::incoming::{Incoming, parse_json};
use crate::embedded::auth::Permission;
use crate::embedded::catalog::{PRIMARY_KEY, ROOT};
use crate::embedded::error::RequestError;
use crate::embedded::import::{ClearBody, Import, ImportBody, IndexesBody, ReadyBody, ReplaceBody};
use crate::embedded::names::repair_table_name;

/// The largest body of an import.
const IMPORT_BODY_LIMIT: usize = 20 << 20;

pub(super) async fn primary_key_indexes_ready(mut request: Incoming) -> Answer {
    let caller = request.caller()?;
    let body: ReadyBody = request.json().await?;
    caller.may(Permission::ImportBackups)?;
    let state = request.embedded.inner.store.state();
    let mut ready = true;
    for name in body.tables {
        let name = repair_table_name(&name)?;
        let tablet = state.catalog.table(ROOT, &name);
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
    let caller = request.caller()?;
    let body: IndexesBody = request.json().await?;
    caller.may(Permission::ImportBackups)?;
    let indexes = body.check()?;
    let add = request.embedded.inner.writer.write(move |transaction| {
        for (table, key) in indexes {
            let tablet = transaction.table(ROOT, &table)?;
            transaction.add_index(tablet, PRIMARY_KEY, key);
        }
        Ok(())
    });
    add.await?;
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn clear_tables(mut request: Incoming) -> Answer {
    let caller = request.caller()?;
    let body: ClearBody = request.json().await?;
    caller.may(Permission::ImportBackups)?;
    let tables = body.table_names.iter().map(|name| repair_table_name(name));
    let tables: BTreeSet<String> = tables.collect::<Result<_, _>>()?;
    let clear = request.embedded.inner.writer.write(move |transaction| {
        tables
            .iter()
            .try_for_each(|table| transaction.clear_table(ROOT, table))
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
    let caller = request.caller()?;
    let embedded = request.embedded.clone();
    let _permit = embedded.inner.imports.acquire().await;
    let body = request.text(IMPORT_BODY_LIMIT).await?;
    let body = blocking(move || parse_json::<ImportBody>(&body)).await?;
    caller.may(Permission::ImportBackups)?;
    let mut import = blocking(move || Import::new(body)).await?;
    loop {
        let (chunk, rest) = blocking(move || Ok((import.next_chunk()?, import))).await?;
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
