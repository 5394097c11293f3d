//! `GET /api/sync/{service}/documents/ws`: documents of a service watched over one WebSocket.
//!
//! Nothing is queued for a client: a nudge only says that a document is to be looked at, and what
//! has changed is read and sent a few revisions at a time. So a connection holds no more than that,
//! however slow its client is; one that does not take a frame for some seconds is closed.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, UPGRADE};
use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use sluice_store::documents::{Changes, DocumentError, Version, Watcher};
use tokio::time::{Instant, interval_at, timeout};

use super::frames::{self, Asked};
use super::params::ServicePath;
use super::read;
use super::request::{Names, Reading, check_name};
use super::watching::{begin, named};
use crate::answers::Document;
use crate::auth::{Auth, Caller, Scope};
use crate::openapi::{DocumentErrors, StreamErrors};
use crate::streams::OpenStream;
use crate::{ApiError, AppState};

/// A client says who it is within this time.
const AUTH_LIMIT: Duration = Duration::from_secs(10);
/// A frame that its client does not take within this time is the last one.
const SLOW: Duration = Duration::from_secs(10);
/// How long the farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// A document is looked at this often without a nudge, in case one got lost.
const LOOK: Duration = Duration::from_secs(10);
/// A client is pinged this often, and is gone when nothing came from it for three times as long.
const PING: Duration = Duration::from_secs(20);
/// Most documents that one connection watches.
const MAX_SUBSCRIPTIONS: usize = 100;
/// The longest frame of a client, in bytes; a token is the longest thing it says.
const MAX_FRAME_BYTES: usize = 16 * 1024;

/// The token is missing, wrong or has expired.
const UNAUTHORIZED: u16 = 4401;
/// The token lacks `docs:read`.
const FORBIDDEN: u16 = 4403;
/// The client did not take what it was sent.
const TOO_SLOW: u16 = 4408;

/// The user has too many WebSockets and event streams open.
const TOO_MANY: u16 = 4429;

/// Why a connection ends.
enum End {
    /// The client has left.
    Gone,
    /// The client is told this code and reason.
    Close(u16, String),
}

fn close(code: u16, reason: &str) -> End {
    End::Close(code, reason.to_owned())
}

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
    let caller = match parts.headers.contains_key(AUTHORIZATION) {
        true => Some(Caller::from_request_parts(&mut parts, &state).await?),
        false => None,
    };
    if let Some(caller) = &caller {
        caller.require(Scope::DocsRead)?;
    }
    let mut stream = state.streams.open()?;
    if let Some(caller) = &caller {
        stream.belong_to(caller.subject())?;
    }
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &state)
        .await
        .map_err(|rejection| ApiError::InvalidRequest(rejection.body_text()))?;
    let open = state.sockets.token();
    Ok(upgrade
        .max_message_size(MAX_FRAME_BYTES)
        .on_upgrade(async move |socket| {
            let gauge = metrics::gauge!("sluice_document_sockets");
            gauge.increment(1.0);
            let connection = Connection {
                state,
                service,
                socket,
                stream,
                heard: Instant::now(),
                subscriptions: HashMap::new(),
                nudges: FuturesUnordered::new(),
            };
            connection.run(caller).await;
            gauge.decrement(1.0);
            drop(open);
        }))
}

/// One client and what it watches.
struct Connection {
    state: AppState,
    service: String,
    socket: WebSocket,
    stream: OpenStream,
    /// When the client last said anything.
    heard: Instant,
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

impl Connection {
    async fn run(mut self, caller: Option<Caller>) {
        let Err(end) = self.serve(caller).await;
        let End::Close(code, reason) = end else {
            return;
        };
        metrics::counter!("sluice_document_sockets_closed_total", "code" => code.to_string())
            .increment(1);
        let reason = reason.into();
        let farewell = async {
            let frame = Message::Close(Some(CloseFrame { code, reason }));
            self.socket.send(frame).await.ok()?;
            // Until the client has read it.
            while let Some(Ok(_)) = self.socket.recv().await {}
            Some(())
        };
        let _ = timeout(FAREWELL, farewell).await;
    }

    async fn serve(&mut self, caller: Option<Caller>) -> Result<Infallible, End> {
        let shutdown = self.state.shutdown.clone();
        let caller = match caller {
            Some(caller) => caller,
            None => tokio::select! {
                () = shutdown.cancelled() => return Err(going_away()),
                caller = self.authenticate() => caller?,
            },
        };
        let mut expired = Box::pin(self.admit(&caller).await?);
        let mut ping = interval_at(Instant::now() + PING, PING);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Err(going_away()),
                () = &mut expired => return Err(close(UNAUTHORIZED, "the token has expired")),
                _ = ping.tick() => self.ping().await?,
                frame = self.socket.recv() => {
                    if let Some(caller) = self.heard(frame).await? {
                        expired = Box::pin(self.admit(&caller).await?);
                    }
                }
                Some(nudged) = self.nudges.next() => {
                    if let Ok(Nudged { id, watcher }) = nudged {
                        self.look(id, watcher).await?;
                    }
                }
            }
        }
    }

    /// Waits for the client to say who it is.
    async fn authenticate(&mut self) -> Result<Caller, End> {
        let asked = timeout(AUTH_LIMIT, async {
            loop {
                match self.socket.recv().await {
                    Some(Ok(Message::Text(text))) => return Ok(Asked::read(&text)),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => return Err(End::Gone),
                }
            }
        });
        match asked.await {
            Ok(Ok(Ok(Asked::Auth { token }))) => verify(&self.state.auth.clone(), &token.0).await,
            Ok(Ok(_)) | Err(_) => Err(close(
                UNAUTHORIZED,
                "a bearer token is needed, in the request or the first frame",
            )),
            Ok(Err(end)) => Err(end),
        }
    }

    /// Tells a caller that it may go on, and gives the end of its time.
    async fn admit(&mut self, caller: &Caller) -> Result<impl Future<Output = ()> + use<>, End> {
        if let Err(error) = self.stream.belong_to(caller.subject()) {
            return Err(close(TOO_MANY, &error.to_string()));
        }
        let frame = frames::ready(caller.expires_at().map(|at| at * 1_000));
        self.send(frame).await?;
        Ok(caller.expired())
    }

    /// Does what a frame asks for. Gives the caller when it is about who that is.
    async fn heard(
        &mut self,
        frame: Option<Result<Message, axum::Error>>,
    ) -> Result<Option<Caller>, End> {
        self.heard = Instant::now();
        let text = match frame {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(None),
            Some(Ok(Message::Binary(_))) => {
                return Err(close(close_code::UNSUPPORTED, "frames are text"));
            }
            Some(Err(_)) => {
                let rule = format!("frames must not be longer than {MAX_FRAME_BYTES} bytes");
                return Err(close(close_code::SIZE, &rule));
            }
            Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
        };
        match Asked::read(&text) {
            Ok(Asked::Auth { token }) => {
                return verify(&self.state.auth.clone(), &token.0).await.map(Some);
            }
            Ok(Asked::Subscribe { id, revision }) => {
                if let Err(error) = self.subscribe(&id, revision).await? {
                    self.send(frames::error(&error, Some(&id))).await?;
                }
            }
            Ok(Asked::Unsubscribe { id }) => {
                self.subscriptions.remove(&id);
                self.send(frames::about("unsubscribed", &id)).await?;
            }
            Ok(Asked::Ping) => self.send(frames::pong()).await?,
            Err(error) => self.send(frames::error(&error, None)).await?,
        }
        Ok(None)
    }

    async fn subscribe(
        &mut self,
        id: &str,
        after: Option<Version>,
    ) -> Result<Result<(), ApiError>, End> {
        if let Err(error) = check_name("id", id) {
            return Ok(Err(error));
        }
        self.subscriptions.remove(id);
        if self.subscriptions.len() == MAX_SUBSCRIPTIONS {
            let rule = format!("id: one connection watches at most {MAX_SUBSCRIPTIONS} documents");
            return Ok(Err(ApiError::InvalidRequest(rule)));
        }
        let first = begin(&self.state.documents, &self.service, id, after).await;
        let (watcher, changes) = match first {
            Ok(first) => first,
            Err(DocumentError::NotFound) => return Ok(Err(ApiError::NotFound)),
            Err(error @ (DocumentError::NoJsonModule | DocumentError::Malformed(_))) => {
                return Ok(Err(error.into()));
            }
            Err(error) => return Err(unavailable(&error)),
        };
        self.send(frames::about("subscribed", id)).await?;
        self.tell(id.to_owned(), after, changes, watcher).await?;
        Ok(Ok(()))
    }

    /// Tells what has become of a document since it was last looked at.
    async fn look(&mut self, id: String, watcher: Watcher) -> Result<(), End> {
        let Some(subscription) = self.subscriptions.get(&id) else {
            return Ok(());
        };
        let after = subscription.after;
        let documents = &self.state.documents;
        match documents.changes(&self.service, &id, after).await {
            Ok(changes) => self.tell(id, after, changes, watcher).await,
            Err(DocumentError::NotFound) => {
                self.subscriptions.remove(&id);
                self.send(frames::about("gone", &id)).await
            }
            // The others are not to suffer from this one.
            Err(error @ DocumentError::Malformed(_)) => {
                self.subscriptions.remove(&id);
                self.send(frames::error(&error.into(), Some(&id))).await
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Sends changes, and waits for the next nudge: for none when there may be more to tell.
    async fn tell(
        &mut self,
        id: String,
        mut after: Option<Version>,
        changes: Changes,
        mut watcher: Watcher,
    ) -> Result<(), End> {
        let (kind, documents) = named(changes);
        let wait = if documents.is_empty() {
            LOOK
        } else {
            Duration::ZERO
        };
        for document in documents {
            after = Some(document.version());
            self.send(frames::told(kind, &id, &document)).await?;
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

    async fn ping(&mut self) -> Result<(), End> {
        if self.heard.elapsed() > 3 * PING {
            return Err(End::Gone);
        }
        self.send_message(Message::Ping(Default::default())).await
    }

    async fn send(&mut self, frame: String) -> Result<(), End> {
        self.send_message(Message::Text(frame.into())).await
    }

    async fn send_message(&mut self, message: Message) -> Result<(), End> {
        match timeout(SLOW, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(close(TOO_SLOW, "the client does not take what it is sent")),
        }
    }
}

async fn verify(auth: &Auth, token: &str) -> Result<Caller, End> {
    match auth.verify(token).await {
        Ok(caller) if caller.has(&Scope::DocsRead) => Ok(caller),
        Ok(_) => Err(close(
            FORBIDDEN,
            "this needs a token with the scope docs:read",
        )),
        Err(ApiError::Unauthorized(reason)) => Err(close(UNAUTHORIZED, reason)),
        Err(error) => Err(close(close_code::AGAIN, &error.to_string())),
    }
}

fn going_away() -> End {
    close(close_code::AWAY, "the server ends")
}

fn unavailable(error: &DocumentError) -> End {
    tracing::warn!(%error, "documents can no longer be watched");
    close(close_code::AGAIN, "the store does not answer")
}
