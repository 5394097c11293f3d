//! `GET /api/sync/{service}/documents/{id}/events`: a document, as it changes.

use std::time::Duration;

use async_stream::stream;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::Stream;
use sluice_store::documents::{
    Changes, Document, DocumentError, Documents, NoVersion, Version, Watcher,
};

use super::params::DocumentPath;
use super::request::Reading;
use super::watching::{begin, named};
use crate::http::sse::{self, LAST_EVENT_ID};
use crate::openapi::{DocumentErrors, StreamErrors, schemas};
use crate::{ApiError, AppState};

/// A document is looked at this often without a nudge, in case one got lost.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Watch a document
///
/// Server-sent events, whose `id` is the document's version, as in its `ETag`, and whose data is
/// the whole envelope: first `present`, as the document is, then `change` for every write, in order
/// and without gaps, deletes and restores too. With `Last-Event-ID` the stream goes on from that
/// version; when the changes kept do not reach back to it, or another document of this id is there
/// since, `reset` has the document as it is. `gone` is the last event, some seconds after the
/// document has expired or is deleted for good. The stream ends with the token's time.
#[utoipa::path(
    get,
    path = "/api/sync/{service}/documents/{id}/events",
    operation_id = "watchDocument",
    tag = "documents",
    params(
        DocumentPath,
        ("Last-Event-ID" = Option<schemas::EventId>, Header, nullable = false, description = "The last version that was seen; a revision alone is taken too"),
    ),
    responses(
        (status = 200, description = "The changes", body = String, content_type = "text/event-stream"),
        DocumentErrors,
        StreamErrors,
    ),
    security(("token" = ["docs:read"])),
)]
pub(crate) async fn events(
    State(state): State<AppState>,
    Reading {
        service,
        id,
        caller,
    }: Reading,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let after = last_event_id(&headers)?;
    let open = state.streams.open_for(caller.subject())?;
    let (watcher, first) = begin(&state.documents, &service, &id, after).await?;
    let watch = Watch {
        documents: state.documents.clone(),
        watcher,
        service,
        id,
        after,
    };
    let events = watch.events(first);
    Ok(sse::respond(&state, open, caller.expired(), events))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Version>, ApiError> {
    let Some(id) = sse::last_event_id(headers) else {
        return Ok(None);
    };
    let version = id.to_str().unwrap_or_default().parse();
    version
        .map(Some)
        .map_err(|rule: NoVersion| ApiError::InvalidRequest(format!("{LAST_EVENT_ID}: {rule}")))
}

/// One caller watching one document.
struct Watch {
    documents: Documents,
    watcher: Watcher,
    service: String,
    id: String,
    /// What the caller has.
    after: Option<Version>,
}

impl Watch {
    fn events(mut self, first: Changes) -> impl Stream<Item = Event> + Send + use<> {
        stream! {
            let mut changes = first;
            loop {
                let (name, documents) = named(changes);
                if documents.is_empty() {
                    self.watcher.nudged(POLL_INTERVAL).await;
                }
                for document in documents {
                    self.after = Some(document.version());
                    yield event(name, document);
                }
                changes = match self.look().await {
                    Ok(changes) => changes,
                    Err(DocumentError::NotFound) => {
                        yield self.gone();
                        return;
                    }
                    // Ending the stream tells the client to come again.
                    Err(error) => {
                        tracing::warn!(%error, "a document can no longer be watched");
                        return;
                    }
                };
            }
        }
    }

    async fn look(&self) -> Result<Changes, DocumentError> {
        self.documents
            .changes(&self.service, &self.id, self.after)
            .await
    }

    fn gone(&self) -> Event {
        let Self { service, id, .. } = self;
        Event::default()
            .event("gone")
            .data(format!(r#"{{"service":"{service}","id":"{id}"}}"#))
    }
}

fn event(name: &str, document: Document) -> Event {
    Event::default()
        .event(name)
        .id(document.version().to_string())
        .data(document.json)
}
