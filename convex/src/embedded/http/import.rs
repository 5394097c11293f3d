//! The streaming import.

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;

use super::{BODY_LIMIT, blocking, parse_json, read_json};
use crate::embedded::Embedded;
use crate::embedded::catalog::{PRIMARY_KEY, ROOT};
use crate::embedded::error::RequestError;
use crate::embedded::import::{ClearBody, Import, ImportBody, IndexesBody, ReadyBody, ReplaceBody};
use crate::embedded::names::repair_table_name;

type Answer = Result<Response, RequestError>;

/// The largest body of an import.
const IMPORT_BODY_LIMIT: usize = 20 << 20;

async fn body_of(
    embedded: &Embedded,
    headers: &HeaderMap,
    query: Option<&str>,
    body: Body,
    limit: usize,
) -> Result<Bytes, RequestError> {
    embedded.inner.key.check(headers, query)?;
    read_json(headers, body, limit).await
}

pub(super) async fn primary_key_indexes_ready(
    State(embedded): State<Embedded>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    let body = body_of(&embedded, &headers, query.as_deref(), body, BODY_LIMIT).await?;
    let request: ReadyBody = parse_json(&body)?;
    let state = embedded.inner.store.state();
    for name in request.tables {
        let name = repair_table_name(&name)?;
        let index = state
            .catalog
            .table(ROOT, &name)
            .and_then(|tablet| tablet.index(PRIMARY_KEY));
        // An index is filled by the transaction that adds it: one that is there is ready.
        if index.is_none() {
            return Err(RequestError::bad_request(
                "MissingIndex",
                format!("The table {name:?} has no primary key index."),
            ));
        }
    }
    Ok(Json(json!({ "indexesReady": true })).into_response())
}

pub(super) async fn add_primary_key_indexes(
    State(embedded): State<Embedded>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    let body = body_of(&embedded, &headers, query.as_deref(), body, BODY_LIMIT).await?;
    let indexes = parse_json::<IndexesBody>(&body)?.check()?;
    let add = embedded.inner.writer.write(move |transaction| {
        for (table, key) in indexes {
            transaction.add_index(&table, PRIMARY_KEY, key);
        }
        Ok(())
    });
    add.await?;
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn clear_tables(
    State(embedded): State<Embedded>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    let body = body_of(&embedded, &headers, query.as_deref(), body, BODY_LIMIT).await?;
    let request: ClearBody = parse_json(&body)?;
    let mut tables = request
        .table_names
        .iter()
        .map(|name| repair_table_name(name))
        .collect::<Result<Vec<_>, _>>()?;
    tables.sort_unstable();
    tables.dedup();
    let clear = embedded.inner.writer.write(move |transaction| {
        for table in &tables {
            transaction.clear_table(table);
        }
        Ok(())
    });
    clear.await?;
    Ok(StatusCode::OK.into_response())
}

/// Always refused, as Convex does: the permission is not even looked at.
pub(super) async fn replace_tables(
    State(embedded): State<Embedded>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    let body = body_of(&embedded, &headers, query.as_deref(), body, BODY_LIMIT).await?;
    parse_json::<ReplaceBody>(&body)?;
    Err(RequestError::bad_request(
        "OverwriteNotSupported",
        "Tables cannot be replaced; clear them and import into them.",
    ))
}

pub(super) async fn import_airbyte_records(
    State(embedded): State<Embedded>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    embedded.inner.key.check(&headers, query.as_deref())?;
    let _permit = embedded.inner.imports.acquire().await;
    let body = read_json(&headers, body, IMPORT_BODY_LIMIT).await?;
    let mut import = blocking(move || Import::new(parse_json::<ImportBody>(&body)?)).await?;
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
