//! The data sync: pages of it, its cursors, and the list of syncs.

use axum::Json as JsonBody;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Handle;

use super::incoming::Incoming;
use super::{Answer, blocking};
use crate::embedded::data_sync::{
    ActiveSyncs, Progress, Sync, SyncCursor, SyncPage, cursor_from_deltas as convert,
};
use crate::embedded::error::RequestError;
use crate::embedded::selection::Selection;
use crate::embedded::store::Reader;
use crate::embedded::writer::{now, past};
use crate::embedded::{Embedded, page};

#[derive(Deserialize)]
struct SyncBody {
    cursor: Option<String>,
    #[serde(default)]
    selection: Selection,
}

#[derive(Deserialize)]
struct ConversionBody {
    cursor: i64,
    #[serde(default)]
    selection: Selection,
}

pub(super) async fn sync(mut request: Incoming) -> Answer {
    let caller = request.caller()?;
    let body: SyncBody = request.json().await?;
    caller.may_export()?;
    let sync = match body.cursor {
        Some(cursor) => {
            let cursor = SyncCursor::parse(&cursor)?;
            check_age(&request.embedded, cursor.ts)?;
            Sync::At(cursor)
        }
        None => Sync::New(new_sync(&request)),
    };
    let page = SyncPage {
        sync,
        selection: checked(body.selection)?,
    };
    let embedded = request.embedded;
    embedded.latest().await?;
    page::stream(&embedded.clone(), move |sink| {
        let reader = embedded.inner.store.reader()?;
        let progress = page.write(&reader, sink)?;
        record(&embedded, &reader, &progress)?;
        sink.push("}");
        Ok(())
    })
    .await
}

pub(super) async fn cursor_from_deltas(mut request: Incoming) -> Answer {
    let caller = request.caller()?;
    let body: ConversionBody = request.json().await?;
    caller.may_export()?;
    let selection = checked(body.selection)?;
    let sync = new_sync(&request);
    let embedded = request.embedded;
    check_age(&embedded, body.cursor)?;
    embedded.latest().await?;
    let cursor = blocking(move || {
        let reader = embedded.inner.store.reader()?;
        convert(&reader, body.cursor, &selection, sync)?.text()
    });
    Ok(JsonBody(json!({ "cursor": cursor.await? })).into_response())
}

pub(super) async fn list_active_syncs(request: Incoming) -> Answer {
    let parameters = request.parameters();
    let (limit, cursor) = (parameters.integer("limit")?, parameters.text("cursor")?);
    request.caller()?.may_export()?;
    let page = ActiveSyncs::new(limit, cursor.as_deref())?;
    let store = request.embedded.inner.store.clone();
    let list = blocking(move || page.list(&store.reader()?, now_ms()));
    Ok(JsonBody(list.await?).into_response())
}

/// The name of a new sync: the product that asks, if it is a known one, and a random UUID.
fn new_sync(request: &Incoming) -> String {
    let client = request.headers.get("convex-client");
    let client = client
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let product =
        if client.starts_with("fivetran-export-") || client.starts_with("fivetran-import-") {
            "fivetran-"
        } else if client.starts_with("airbyte-export-") {
            "airbyte-"
        } else {
            ""
        };
    // Version 4, variant 1.
    let random = rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{random:032x}");
    let groups = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    format!("{product}{}", groups.join("-"))
}

/// Error: 400 `DataSyncCursorExpired`.
fn check_age(embedded: &Embedded, ts: i64) -> Result<(), RequestError> {
    if (0..past(embedded.inner.config.log_retention)).contains(&ts) {
        return Err(RequestError::bad_request(
            "DataSyncCursorExpired",
            "The log no longer reaches back to the cursor. Start a new sync, without one.",
        ));
    }
    Ok(())
}

/// Error: 400 `InvalidDataSyncSelection`.
fn checked(selection: Selection) -> Result<Selection, RequestError> {
    match selection.check() {
        Ok(()) => Ok(selection),
        Err(error) => Err(RequestError::bad_request(
            "InvalidDataSyncSelection",
            error.message,
        )),
    }
}

/// Writes down how far the sync is, for [`list_active_syncs`]. Reading goes on when it cannot be
/// written.
fn record(embedded: &Embedded, reader: &Reader, progress: &Progress) -> Result<(), RequestError> {
    let Some(record) = progress.to_record(reader, now_ms())? else {
        return Ok(());
    };
    let written = Handle::current().block_on(embedded.inner.writer.write(move |transaction| {
        transaction.record_sync(record);
        Ok(())
    }));
    if let Err(error) = written {
        tracing::warn!(%error, "a data sync's progress was not recorded");
    }
    Ok(())
}

fn now_ms() -> i64 {
    now() / 1_000_000
}
