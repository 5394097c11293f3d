//! The streaming export: schemas, snapshots and deltas.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json, json};
use url::form_urlencoded;

use super::{BODY_LIMIT, bad_body, parse_json, read_json};
use crate::embedded::Embedded;
use crate::embedded::deltas::DeltaPage;
use crate::embedded::error::RequestError;
use crate::embedded::page;
use crate::embedded::schema::{column_names, table_schema};
use crate::embedded::selection::Selection;
use crate::embedded::snapshot::{SnapshotCursor, SnapshotPage};
use crate::embedded::store;
use crate::embedded::value::Format;
use crate::embedded::writer::{now, past};

type Answer = Result<Response, RequestError>;

/// How far the latest timestamp may lag behind the clock before a request for "now" moves it.
const IDLE: Duration = Duration::from_secs(10);

pub(super) async fn list_snapshot_get(
    State(embedded): State<Embedded>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let parameters = SnapshotParameters::new(Parameters::from_query(query.as_deref()))?;
    embedded.inner.key.check(&headers, query.as_deref())?;
    list_snapshot(embedded, parameters).await
}

pub(super) async fn list_snapshot_post(
    State(embedded): State<Embedded>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    embedded.inner.key.check(&headers, query.as_deref())?;
    let parameters = Parameters::from_body(&read_json(&headers, body, BODY_LIMIT).await?)?;
    list_snapshot(embedded, SnapshotParameters::new(parameters)?).await
}

pub(super) async fn document_deltas_get(
    State(embedded): State<Embedded>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let parameters = DeltaParameters::new(Parameters::from_query(query.as_deref()))?;
    embedded.inner.key.check(&headers, query.as_deref())?;
    document_deltas(embedded, parameters).await
}

pub(super) async fn document_deltas_post(
    State(embedded): State<Embedded>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    embedded.inner.key.check(&headers, query.as_deref())?;
    let parameters = Parameters::from_body(&read_json(&headers, body, BODY_LIMIT).await?)?;
    document_deltas(embedded, DeltaParameters::new(parameters)?).await
}

pub(super) async fn test_connection(
    State(embedded): State<Embedded>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    embedded.inner.key.check(&headers, query.as_deref())?;
    Ok(JsonBody(Json::Null).into_response())
}

pub(super) async fn json_schemas(
    State(embedded): State<Embedded>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let parameters = Parameters::from_query(query.as_deref());
    let delta = parameters.boolean("deltaSchema")?;
    let by_component = parameters.boolean("byComponent")?;
    let format = parameters.text("format")?;
    embedded.inner.key.check(&headers, query.as_deref())?;
    let format = Format::parse(format.as_deref())?;
    let state = embedded.inner.store.state();
    let tables = state.catalog.live().map(|tablet| {
        let schema = table_schema(tablet, &state.catalog, format, delta);
        (tablet.name.clone(), schema)
    });
    let tables: Map<String, Json> = tables.collect();
    // The root component is the only one there is.
    Ok(JsonBody(if by_component {
        json!({ "": tables })
    } else {
        tables.into()
    })
    .into_response())
}

pub(super) async fn table_column_names(
    State(embedded): State<Embedded>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    embedded.inner.key.check(&headers, query.as_deref())?;
    let state = embedded.inner.store.state();
    let tables = state
        .catalog
        .live()
        .map(|tablet| json!({ "name": tablet.name, "columns": column_names(tablet) }));
    let tables: Vec<Json> = tables.collect();
    let by_component = if tables.is_empty() {
        json!({})
    } else {
        json!({ "": tables })
    };
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
    page::stream(move |sink| page.write(&store.reader()?, sink)).await
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
    if cursor < past(embedded.inner.config.log_retention) {
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
    page::stream(move |sink| page.write(&store.reader()?, sink)).await
}

impl Embedded {
    /// The latest state. After a time without writes its timestamp is moved on first: as a commit, so that what was given out as
    /// "now" stays before all that is written later, across restarts too.
    async fn latest(&self) -> Result<Arc<store::State>, RequestError> {
        let state = self.inner.store.state();
        if now().saturating_sub(state.ts) < IDLE.as_nanos() as i64 {
            return Ok(state);
        }
        self.inner.writer.write(|_| Ok(())).await?;
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
        if requested < past(self.inner.config.snapshot_retention) {
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

/// Named parameters, from a query string (all of them text) or from a JSON body.
struct Parameters {
    values: Map<String, Json>,
    in_query: bool,
}

impl Parameters {
    fn from_query(query: Option<&str>) -> Parameters {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Parameters {
            values: pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
                .collect(),
            in_query: true,
        }
    }

    fn from_body(body: &[u8]) -> Result<Parameters, RequestError> {
        Ok(Parameters {
            values: parse_json(body)?,
            in_query: false,
        })
    }

    /// Null and absent are the same.
    fn text(&self, name: &str) -> Result<Option<String>, RequestError> {
        match self.values.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    fn integer(&self, name: &str) -> Result<Option<i64>, RequestError> {
        match self.values.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) if self.in_query => text
                .parse()
                .map(Some)
                .map_err(|_| self.wrong(name, "an integer")),
            Some(value) => value
                .as_i64()
                .map(Some)
                .ok_or_else(|| self.wrong(name, "an integer")),
        }
    }

    fn boolean(&self, name: &str) -> Result<bool, RequestError> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    fn wrong(&self, name: &str, expected: &str) -> RequestError {
        let message = format!("{name} has to be {expected}.");
        if self.in_query {
            RequestError::bad_request("BadQueryArgs", message)
        } else {
            bad_body(message)
        }
    }
}
