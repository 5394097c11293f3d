//! `GET /api/sync/{service}/documents/ws`: documents of a service watched over one WebSocket.
//!
//! A nudge only says that a document is to be looked at, and what has changed is read and sent a
//! few revisions at a time. So a connection holds no more than that, however slow its client is.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::UPGRADE;
use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures_util::stream::FuturesUnordered;
use sluice_store::documents::{Changes, DocumentError, Documents, Version, Watcher};

use super::frames::{self, ClientFrame};
use super::params::ServicePath;
use super::read;
use super::request::{Names, Reading, check_name};
use super::watching::{begin, named};
use crate::answers::Document;
use crate::auth::{Caller, Scope};
use crate::http::socket::{self, ClientMessage, End, Outlet, Protocol};
use crate::openapi::{DocumentErrors, StreamErrors};
use crate::{ApiError, AppState};

/// A document is looked at this often without a nudge, in case one got lost.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Most documents that one connection watches.
const MAX_SUBSCRIPTIONS: usize = 100;

/// Watch documents over a WebSocket
///
/// The token comes with the request, or in the first frame: `{"type":"auth","token"}`; sent again
/// it takes the place of one that is about to expire. Then `{"type":"subscribe","id","revision"?}`,
/// `{"type":"unsubscribe","id"}` and `{"type":"ping"}`, at most 100 documents at a time. What comes
/// back has a `type`: `ready`, `subscribed`, `unsubscribed`, `pong`, `error`; and for a document
/// `present` (as it is; without a revision only), `change` (each write after the revision, in order
/// and without gaps), `reset` (as it is: the changes kept do not reach back to the revision, or it
/// is of a former document), `gone`. A `revision` is best given as the `version` of the last frame,
/// which tells documents of one id apart that follow one another. The connection is closed with
/// 4401 when the token is wrong or expires, 4403 when it lacks the scope, 4408 when the client is
/// too slow, 4429 when the user has too many streams open, 1001 when the server ends, 1013 when
/// Valkey does not answer. A request without an upgrade reads the document `ws`.
#[utoipa::path(
    get,
    path = "/api/sync/{service}/documents/ws",
    operation_id = "openDocumentSocket",
    tag = "documents",
    params(ServicePath),
    responses(
        (status = 101, description = "The WebSocket is open"),
        (status = 200, description = "The document `ws`, without an upgrade", body = Document),
        (status = 304, description = "The caller has this revision of it"),
        DocumentErrors,
        StreamErrors,
    ),
    security((), ("token" = ["docs:read"])),
)]
pub(crate) async fn watch(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    if !parts.headers.contains_key(UPGRADE) {
        let reading = Reading::from_request_parts(&mut parts, &state).await?;
        return read::get(State(state), reading, parts.headers).await;
    }
    let Names { service, .. } = Names::from_parts(&mut parts, &state).await?;
    let subscriptions = Subscriptions {
        documents: state.documents.clone(),
        service,
        subscriptions: HashMap::new(),
        nudges: FuturesUnordered::new(),
    };
    socket::open(&mut parts, &state, subscriptions).await
}

/// What one client watches.
struct Subscriptions {
    documents: Documents,
    service: String,
    subscriptions: HashMap<String, Subscription>,
    /// One for each subscription.
    nudges: FuturesUnordered<Abortable<BoxFuture<'static, Nudged>>>,
}

struct Subscription {
    /// What the client has.
    after: Option<Version>,
    nudge: AbortHandle,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.nudge.abort();
    }
}

/// It is time to look at a document.
struct Nudged {
    id: String,
    watcher: Watcher,
}

impl Protocol for Subscriptions {
    const SCOPE: Scope = Scope::DocsRead;
    const OPEN_METRIC: &'static str = "sluice_document_sockets";
    const CLOSED_METRIC: &'static str = "sluice_document_sockets_closed_total";
    type Frame = ClientFrame;
    /// None of a document that is watched no longer.
    type Event = Result<Nudged, Aborted>;

    fn read(text: &str) -> Result<ClientMessage<ClientFrame>, ApiError> {
        Ok(match ClientFrame::read(text)? {
            ClientFrame::Auth { token } => ClientMessage::Token(token.0),
            frame => ClientMessage::Frame(frame),
        })
    }

    async fn admit(&mut self, caller: &Caller, out: &mut Outlet<'_>) -> Result<(), End> {
        let expires_at = caller.expires_at().map(|at| at * 1_000);
        out.send(frames::ready(expires_at)).await
    }

    fn refused(error: &ApiError) -> String {
        frames::error(error, None)
    }

    async fn handle(&mut self, frame: ClientFrame, out: &mut Outlet<'_>) -> Result<(), End> {
        match frame {
            ClientFrame::Subscribe { id, revision } => {
                if let Err(error) = self.subscribe(&id, revision, out).await? {
                    out.send(frames::error(&error, Some(&id))).await?;
                }
                Ok(())
            }
            ClientFrame::Unsubscribe { id } => {
                self.subscriptions.remove(&id);
                out.send(frames::about("unsubscribed", &id)).await
            }
            ClientFrame::Ping => out.send(frames::pong()).await,
            // Is read as who the client is.
            ClientFrame::Auth { .. } => Ok(()),
        }
    }

    async fn event(&mut self) -> Option<Result<Nudged, Aborted>> {
        self.nudges.next().await
    }

    async fn notify(
        &mut self,
        event: Result<Nudged, Aborted>,
        out: &mut Outlet<'_>,
    ) -> Result<(), End> {
        match event {
            Ok(Nudged { id, watcher }) => Box::pin(self.catch_up(id, watcher, out)).await,
            Err(Aborted) => Ok(()),
        }
    }
}

impl Subscriptions {
    async fn subscribe(
        &mut self,
        id: &str,
        after: Option<Version>,
        out: &mut Outlet<'_>,
    ) -> Result<Result<(), ApiError>, End> {
        if let Err(error) = check_name("id", id) {
            return Ok(Err(error));
        }
        self.subscriptions.remove(id);
        if self.subscriptions.len() == MAX_SUBSCRIPTIONS {
            let rule = format!("id: one connection watches at most {MAX_SUBSCRIPTIONS} documents");
            return Ok(Err(ApiError::InvalidRequest(rule)));
        }
        let first = begin(&self.documents, &self.service, id, after).await;
        let (watcher, changes) = match first {
            Ok(first) => first,
            Err(DocumentError::NotFound) => return Ok(Err(ApiError::NotFound)),
            Err(error @ (DocumentError::NoJsonModule | DocumentError::Malformed(_))) => {
                return Ok(Err(error.into()));
            }
            Err(error) => return Err(unavailable(&error)),
        };
        out.send(frames::about("subscribed", id)).await?;
        self.send(id.to_owned(), after, changes, watcher, out)
            .await?;
        Ok(Ok(()))
    }

    /// Sends what has changed of a document since it was last looked at.
    async fn catch_up(
        &mut self,
        id: String,
        watcher: Watcher,
        out: &mut Outlet<'_>,
    ) -> Result<(), End> {
        let Some(subscription) = self.subscriptions.get(&id) else {
            return Ok(());
        };
        let after = subscription.after;
        match self.documents.changes(&self.service, &id, after).await {
            Ok(changes) => self.send(id, after, changes, watcher, out).await,
            Err(DocumentError::NotFound) => {
                self.subscriptions.remove(&id);
                out.send(frames::about("gone", &id)).await
            }
            // The others are not to suffer from this one.
            Err(error @ DocumentError::Malformed(_)) => {
                self.subscriptions.remove(&id);
                out.send(frames::error(&error.into(), Some(&id))).await
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Sends changes, and waits for the next nudge: for none when there may be more to tell.
    async fn send(
        &mut self,
        id: String,
        mut after: Option<Version>,
        changes: Changes,
        mut watcher: Watcher,
        out: &mut Outlet<'_>,
    ) -> Result<(), End> {
        let (kind, documents) = named(changes);
        let wait = if documents.is_empty() {
            POLL_INTERVAL
        } else {
            Duration::ZERO
        };
        for document in documents {
            after = Some(document.version());
            out.send(frames::document(kind, &id, &document)).await?;
        }
        let (nudge, registration) = AbortHandle::new_pair();
        self.subscriptions
            .insert(id.clone(), Subscription { after, nudge });
        let nudged = async move {
            watcher.nudged(wait).await;
            Nudged { id, watcher }
        };
        self.nudges
            .push(Abortable::new(Box::pin(nudged), registration));
        Ok(())
    }
}

fn unavailable(error: &DocumentError) -> End {
    tracing::warn!(%error, "documents can no longer be watched");
    End::unavailable("the store does not answer")
}
