//! The streaming export: schemas, snapshots and deltas.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as JsonBody;
use axum::response::IntoResponse;
use serde_json::{Map, Value as Json, json};

use super::Answer;
use super::incoming::{Incoming, Parameters};
use crate::embedded::deltas::DeltaPage;
use crate::embedded::error::RequestError;
use crate::embedded::schema::{column_names, table_schema};
use crate::embedded::selection::Selection;
use crate::embedded::snapshot::{SnapshotCursor, SnapshotPage};
use crate::embedded::value::Format;
use crate::embedded::writer::{now, past};
use crate::embedded::{Embedded, page, store};

/// How far the latest timestamp may lag behind the clock before a request for "now" moves it.
const IDLE: Duration = Duration::from_secs(10);

pub(super) async fn list_snapshot_get(request: Incoming) -> Answer {
    let parameters = SnapshotParameters::new(request.parameters())?;
    request.caller()?.may_export()?;
    list_snapshot(request.embedded, parameters).await
}

pub(super) async fn list_snapshot_post(mut request: Incoming) -> Answer {
    let caller = request.caller()?;
    let parameters = SnapshotParameters::new(request.body_parameters().await?)?;
    caller.may_export()?;
    list_snapshot(request.embedded, parameters).await
}

pub(super) async fn document_deltas_get(request: Incoming) -> Answer {
    let parameters = DeltaParameters::new(request.parameters())?;
    request.caller()?.may_export()?;
    document_deltas(request.embedded, parameters).await
}

pub(super) async fn document_deltas_post(mut request: Incoming) -> Answer {
    let caller = request.caller()?;
    let parameters = DeltaParameters::new(request.body_parameters().await?)?;
    caller.may_export()?;
    document_deltas(request.embedded, parameters).await
}

pub(super) async fn test_connection(request: Incoming) -> Answer {
    request.caller()?.may_export()?;
    Ok(JsonBody(Json::Null).into_response())
}

pub(super) async fn json_schemas(request: Incoming) -> Answer {
    let parameters = request.parameters();
    let delta = parameters.boolean("deltaSchema")?;
    let by_component = parameters.boolean("byComponent")?;
    let format = parameters.text("format")?;
    request.caller()?.may_export()?;
    let format = Format::parse(format.as_deref())?;
    let state = request.embedded.inner.store.state();
    let mut components = Vec::new();
    for component in state.catalog.components() {
        let tables = state.catalog.live_in(component).map(|tablet| {
            let schema = table_schema(tablet, &state.catalog, format, delta)?;
            Ok((tablet.name.clone(), schema))
        });
        let tables: Map<String, Json> = tables.collect::<Result<_, RequestError>>()?;
        components.push((component.to_owned(), tables));
    }
    let schemas: Json = if by_component {
        let schemas = components.into_iter();
        schemas
            .map(|(path, tables)| (path, Json::Object(tables)))
            .collect()
    } else {
        // Where two components have a table of the same name, the later one's is seen.
        components
            .into_iter()
            .flat_map(|(_, tables)| tables)
            .collect()
    };
    Ok(JsonBody(schemas).into_response())
}

pub(super) async fn table_column_names(request: Incoming) -> Answer {
    request.caller()?.may_export()?;
    let state = request.embedded.inner.store.state();
    let mut by_component = Map::new();
    for component in state.catalog.components() {
        let tables = state.catalog.live_in(component);
        let tables: Vec<Json> = tables
            .map(|tablet| json!({ "name": tablet.name, "columns": column_names(tablet) }))
            .collect();
        if !tables.is_empty() {
            by_component.insert(component.to_owned(), tables.into());
        }
    }
    Ok(JsonBody(json!({ "byComponent": by_component })).into_response())
}

async fn list_snapshot(embedded: Embedded, parameters: SnapshotParameters) -> Answer {
    let snapshot = embedded.snapshot_timestamp(parameters.snapshot).await?;
    let page = SnapshotPage {
        snapshot,
        selection: Selection::from_parameters(&parameters.rest.values)?,
        cursor: parameters
            .cursor
            .as_deref()
            .map(SnapshotCursor::parse)
            .transpose()?,
        format: Format::parse(parameters.format.as_deref())?,
    };
    let store = embedded.inner.store.clone();
    page::stream(&embedded, move |sink| page.write(&store.reader()?, sink)).await
}

async fn document_deltas(embedded: Embedded, parameters: DeltaParameters) -> Answer {
    let selection = Selection::from_parameters(&parameters.rest.values)?;
    let cursor = parameters.cursor.ok_or_else(|| {
        RequestError::bad_request(
            "DocumentDeltasCursorRequired",
            "document_deltas needs a cursor: a snapshot's timestamp.",
        )
    })?;
    if cursor < 0 {
        return Err(RequestError::internal("The cursor is not a timestamp."));
    }
    // After the latest commit nothing was lost, however long ago that was.
    if cursor < past(embedded.inner.config.log_retention).min(embedded.inner.store.state().ts) {
        return Err(RequestError::bad_request(
            "InvalidWindowToReadDocuments",
            format!("The log no longer reaches back to {cursor}. Do a full sync."),
        ));
    }
    embedded.latest().await?;
    let page = DeltaPage {
        cursor,
        selection,
        format: Format::parse(parameters.format.as_deref())?,
    };
    let store = embedded.inner.store.clone();
    page::stream(&embedded, move |sink| page.write(&store.reader()?, sink)).await
}

impl Embedded {
    /// The latest state. After a time without writes its timestamp is moved on first: as a commit,
    /// so that what was given out as "now" stays before all that is written later, across restarts
    /// too. When that cannot be written, the state's own timestamp is given out: it is as true,
    /// only older.
    pub(super) async fn latest(&self) -> Result<Arc<store::State>, RequestError> {
        let state = self.inner.store.state();
        if now().saturating_sub(state.ts) < IDLE.as_nanos() as i64 {
            return Ok(state);
        }
        if let Err(error) = self.inner.writer.write(|_| Ok(())).await {
            tracing::warn!(%error, "the embedded store's time cannot be moved on");
        }
        Ok(self.inner.store.state())
    }

    /// The timestamp to read at.
    async fn snapshot_timestamp(&self, requested: Option<i64>) -> Result<i64, RequestError> {
        let Some(requested) = requested else {
            return Ok(self.latest().await?.ts);
        };
        if requested < 0 {
            return Err(RequestError::internal("The snapshot is not a timestamp."));
        }
        // What is shown now is kept, however long nothing was written.
        let kept = past(self.inner.config.snapshot_retention).min(self.inner.store.state().ts);
        if requested < kept {
            return Err(RequestError::bad_request(
                "SnapshotTooOld",
                format!("The snapshot {requested} is no longer kept."),
            ));
        }
        if requested > self.inner.store.state().ts {
            if requested > now() {
                return Err(RequestError::bad_request(
                    "SnapshotTooNew",
                    "The snapshot is in the future.",
                ));
            }
            self.inner.writer.write(|_| Ok(())).await?;
        }
        Ok(requested)
    }
}

struct SnapshotParameters {
    snapshot: Option<i64>,
    cursor: Option<String>,
    format: Option<String>,
    rest: Parameters,
}

impl SnapshotParameters {
    fn new(parameters: Parameters) -> Result<SnapshotParameters, RequestError> {
        Ok(SnapshotParameters {
            snapshot: parameters.integer("snapshot")?,
            cursor: parameters.text("cursor")?,
            format: parameters.text("format")?,
            rest: parameters,
        })
    }
}

struct DeltaParameters {
    cursor: Option<i64>,
    format: Option<String>,
    rest: Parameters,
}

impl DeltaParameters {
    fn new(parameters: Parameters) -> Result<DeltaParameters, RequestError> {
        Ok(DeltaParameters {
            cursor: parameters.integer("cursor")?,
            format: parameters.text("format")?,
            rest: parameters,
        })
    }
}
