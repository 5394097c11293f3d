//! The calls of Fivetran's destination connector.

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::Answer;
use super::incoming::Incoming;
use crate::embedded::auth::Permission;
use crate::embedded::fivetran::{self, CreateBody, Operation, TruncateBody};
use crate::embedded::names::StreamName;

/// The deployment's schema: this store has none.
pub(super) async fn get_schema(request: Incoming) -> Answer {
    request.caller()?.may(Permission::ImportBackups)?;
    Ok(Json(serde_json::Value::Null).into_response())
}

pub(super) async fn create_table(mut request: Incoming) -> Answer {
    request.caller()?.may(Permission::ImportBackups)?;
    let body: CreateBody = request.json().await?;
    let table = body.check()?;
    let writer = &request.embedded.inner.writer;
    writer
        .write(move |transaction| table.create(transaction))
        .await?;
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn truncate_table(mut request: Incoming) -> Answer {
    request.caller()?.may(Permission::ImportBackups)?;
    let mut body: TruncateBody = request.json().await?;
    let stream = StreamName::new(&body.table_name)?;
    let writer = &request.embedded.inner.writer;
    if body.is_everything() {
        let clear = writer.write(move |transaction| transaction.clear_stream(&stream));
        clear.await?;
        return Ok(StatusCode::OK.into_response());
    }
    let mut table = stream.table;
    let mut place: Option<Vec<u8>> = None;
    loop {
        let truncate = writer.write(move |transaction| {
            let next = body.apply(&table, place.as_deref(), transaction)?;
            Ok((next, body, table))
        });
        (place, body, table) = truncate.await?;
        if place.is_none() {
            return Ok(StatusCode::OK.into_response());
        }
    }
}

pub(super) async fn apply_operations(mut request: Incoming) -> Answer {
    request.caller()?.may(Permission::ImportBackups)?;
    let operations: Vec<Operation> = request.json().await?;
    let writer = &request.embedded.inner.writer;
    writer
        .write(move |transaction| fivetran::apply(operations, transaction))
        .await?;
    Ok(StatusCode::OK.into_response())
}
