//! WebSockets: who the client is, when its token ends, pings, slow clients, and the farewell. What
//! is said on one is its [`Protocol`]'s.
//!
//! Nothing is queued for a client: a protocol sends as much as the client takes, and one that does
//! not take a frame for some seconds is closed.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::time::{Instant, interval_at, timeout};

use super::error::ApiError;
use super::streams::OpenStream;
use crate::AppState;
use crate::auth::{Caller, Scope};

/// A client says who it is within this time.
const AUTH_LIMIT: Duration = Duration::from_secs(10);
/// A frame that its client does not take within this time is the last one.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// How long the farewell may take.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// A client is pinged this often: the first time after a part of it by chance, so that those who came
/// at once are not pinged at once.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// A client from which nothing came for so long is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(90);
/// Frames of a client are counted for so long.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// The longest frame of a client, in bytes; a token is the longest thing it says.
const MAX_FRAME_BYTES: usize = 16 * 1024;
/// What is read from a client at a time, in bytes: each connection has a buffer for it. Most frames
/// are shorter; a token may take a few reads.
const READ_BUFFER_BYTES: usize = 1024;

/// The token is missing, wrong or has expired.
const UNAUTHORIZED: u16 = 4401;
/// The token lacks the scope.
const FORBIDDEN: u16 = 4403;
/// The client did not take what it was sent.
const TOO_SLOW: u16 = 4408;
/// The user has too many WebSockets and event streams open.
const TOO_MANY: u16 = 4429;

/// What is said on a WebSocket, in text frames.
pub(crate) trait Protocol: Send + 'static {
    /// The scope that a client needs.
    const SCOPE: Scope;
    /// The gauge of those that are open.
    const OPEN_METRIC: &'static str;
    /// The counter of those that the server closed, by code.
    const CLOSED_METRIC: &'static str;
    /// Most frames of a client in a second.
    const MAX_FRAMES_PER_SECOND: u32 = u32::MAX;
    /// What a client says.
    type Frame: Send;
    /// What happens without the client.
    type Event: Send;

    /// Reads a frame.
    fn read(text: &str) -> Result<ClientMessage<Self::Frame>, ApiError>;

    /// Goes on with a client that is known: at first, and when it renews its token.
    fn admit(
        &mut self,
        caller: &Caller,
        out: &mut Outlet<'_>,
    ) -> impl Future<Output = Result<(), End>> + Send;

    /// The frame for a client whose own was none.
    fn refused(error: &ApiError) -> String;

    /// Does what a frame asks for.
    fn handle(
        &mut self,
        frame: Self::Frame,
        out: &mut Outlet<'_>,
    ) -> impl Future<Output = Result<(), End>> + Send;

    /// Waits for what happens without the client; none when nothing will. May be dropped at any
    /// time without a loss.
    fn event(&mut self) -> impl Future<Output = Option<Self::Event>> + Send;

    /// Tells the client of it.
    fn notify(
        &mut self,
        event: Self::Event,
        out: &mut Outlet<'_>,
    ) -> impl Future<Output = Result<(), End>> + Send;
}

/// How a client has said who it is before it was let in.
pub(crate) enum Credentials {
    /// By a token that was checked.
    Caller(Caller),
    /// By a token that is checked once the WebSocket is open, since browsers do not show what a
    /// request without one was refused for; none when there was no token.
    Token(Option<String>),
    /// Not yet: its first frame will.
    Pending,
}

/// What a client said.
pub(crate) enum ClientMessage<F> {
    /// Who it is, by a token: first of all, unless the request's headers said so, and again before
    /// the token expires.
    Token(String),
    /// Anything else.
    Frame(F),
}

/// Why a connection ends.
pub(crate) enum End {
    /// The client has left.
    Gone,
    /// The client gets this code and reason.
    Close(u16, String),
}

impl End {
    pub(crate) fn close(code: u16, reason: impl Into<String>) -> Self {
        Self::Close(code, reason.into())
    }

    /// The token is missing, wrong or has expired.
    pub(crate) fn unauthorized(reason: impl Into<String>) -> Self {
        Self::close(UNAUTHORIZED, reason)
    }

    /// A part behind the API does not answer; the client is to come again.
    pub(crate) fn unavailable(reason: &str) -> Self {
        Self::close(close_code::AGAIN, reason)
    }

    fn going_away() -> Self {
        Self::close(close_code::AWAY, "the server ends")
    }
}

/// Where frames for the client go.
pub(crate) struct Outlet<'a>(&'a mut WebSocket);

impl Outlet<'_> {
    /// Sends a text frame, and waits until the client takes it.
    pub(crate) async fn send(&mut self, frame: String) -> Result<(), End> {
        self.send_message(Message::Text(frame.into())).await
    }

    /// As [`Outlet::send`], of a text that many clients are sent.
    pub(crate) async fn send_rendered(&mut self, frame: Bytes) -> Result<(), End> {
        let frame = Utf8Bytes::try_from(frame);
        let frame = frame.map_err(|_| End::unavailable("a frame is no text"))?;
        self.send_message(Message::Text(frame)).await
    }

    async fn send_message(&mut self, message: Message) -> Result<(), End> {
        match timeout(SEND_LIMIT, self.0.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::close(
                TOO_SLOW,
                "the client does not take what it is sent",
            )),
        }
    }
}

/// Opens a WebSocket. The token may come with the request, or in the first frame.
///
/// # Errors
/// When the token that came does not do, when too many are open, or when the request is no upgrade.
pub(crate) async fn open<P: Protocol>(
    parts: &mut Parts,
    state: &AppState,
    protocol: P,
) -> Result<Response, ApiError> {
    let credentials = match parts.headers.contains_key(AUTHORIZATION) {
        true => Credentials::Caller(Caller::from_request_parts(parts, state).await?),
        false => Credentials::Pending,
    };
    open_with(parts, state, protocol, credentials).await
}

/// As [`open`], for a client that has said who it is in this way.
///
/// # Errors
/// As [`open`].
pub(crate) async fn open_with<P: Protocol>(
    parts: &mut Parts,
    state: &AppState,
    protocol: P,
    credentials: Credentials,
) -> Result<Response, ApiError> {
    let mut stream = state.streams.open()?;
    if let Credentials::Caller(caller) = &credentials {
        caller.require(P::SCOPE)?;
        stream.belong_to(caller.subject())?;
    }
    let upgrade = WebSocketUpgrade::from_request_parts(parts, state)
        .await
        .map_err(|rejection| ApiError::InvalidRequest(rejection.body_text()))?;
    let (state, open) = (state.clone(), state.sockets.token());
    Ok(upgrade
        .max_message_size(MAX_FRAME_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .on_upgrade(async move |socket| {
            let gauge = metrics::gauge!(P::OPEN_METRIC);
            gauge.increment(1.0);
            let connection = Connection {
                state,
                socket,
                stream,
                heard_at: Instant::now(),
                counted: (Instant::now(), 0),
                protocol,
            };
            connection.run(credentials).await;
            gauge.decrement(1.0);
            drop(open);
        }))
}

/// One client.
struct Connection<P> {
    state: AppState,
    socket: WebSocket,
    stream: OpenStream,
    /// When the client last said anything.
    heard_at: Instant,
    /// Since when its frames are counted, and how many they are.
    counted: (Instant, u32),
    protocol: P,
}

impl<P: Protocol> Connection<P> {
    async fn run(mut self, credentials: Credentials) {
        let Err(end) = self.serve(credentials).await;
        let End::Close(code, reason) = end else {
            return;
        };
        metrics::counter!(P::CLOSED_METRIC, "code" => code.to_string()).increment(1);
        let reason = reason.into();
        let farewell = async {
            let frame = Message::Close(Some(CloseFrame { code, reason }));
            self.socket.send(frame).await.ok()?;
            // Until the client has read it.
            while let Some(Ok(_)) = self.socket.recv().await {}
            Some(())
        };
        let _ = timeout(FAREWELL_LIMIT, farewell).await;
    }

    async fn serve(&mut self, credentials: Credentials) -> Result<Infallible, End> {
        let shutdown = self.state.shutdown.clone();
        let caller = tokio::select! {
            () = shutdown.cancelled() => return Err(End::going_away()),
            caller = Box::pin(self.authenticate(credentials)) => caller?,
        };
        // What is rare is boxed: the memory of a quiet connection is that of its largest step.
        let mut expired = Box::pin(Box::pin(self.admit(&caller)).await?);
        let first = PING_INTERVAL.mul_f64(rand::random_range(0.1..1.0));
        let mut ping = interval_at(Instant::now() + first, PING_INTERVAL);
        // All connections wait in one list, behind a lock: each enters it once.
        let mut ended = pin!(shutdown.cancelled());
        loop {
            tokio::select! {
                () = &mut ended => return Err(End::going_away()),
                () = &mut expired => {
                    return Err(End::unauthorized("the token has expired"));
                }
                _ = ping.tick() => self.ping().await?,
                message = self.socket.recv() => {
                    if let Some(caller) = Box::pin(self.receive(message)).await? {
                        expired = Box::pin(Box::pin(self.admit(&caller)).await?);
                    }
                }
                Some(event) = self.protocol.event() => {
                    self.protocol.notify(event, &mut Outlet(&mut self.socket)).await?;
                }
            }
        }
    }

    /// Waits for the client to say who it is, unless it has.
    async fn authenticate(&mut self, credentials: Credentials) -> Result<Caller, End> {
        match credentials {
            Credentials::Caller(caller) => return Ok(caller),
            Credentials::Token(Some(token)) => return verify::<P>(&self.state, &token).await,
            Credentials::Token(None) => return Err(End::unauthorized("a token is needed")),
            Credentials::Pending => {}
        }
        let said = timeout(AUTH_LIMIT, async {
            loop {
                match self.socket.recv().await {
                    Some(Ok(Message::Text(text))) => return Ok(P::read(&text)),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => return Err(End::Gone),
                }
            }
        });
        match said.await {
            Ok(Ok(Ok(ClientMessage::Token(token)))) => verify::<P>(&self.state, &token).await,
            Ok(Ok(_)) | Err(_) => Err(End::unauthorized(
                "a bearer token is needed, in the request or the first frame",
            )),
            Ok(Err(end)) => Err(end),
        }
    }

    /// Tells a caller that it may go on, and gives the end of its time.
    async fn admit(&mut self, caller: &Caller) -> Result<impl Future<Output = ()> + use<P>, End> {
        if let Err(error) = self.stream.belong_to(caller.subject()) {
            return Err(End::close(TOO_MANY, error.to_string()));
        }
        let mut out = Outlet(&mut self.socket);
        self.protocol.admit(caller, &mut out).await?;
        Ok(caller.expired())
    }

    /// Does what a message asks for. Gives the caller when it is about who that is.
    async fn receive(
        &mut self,
        message: Option<Result<Message, axum::Error>>,
    ) -> Result<Option<Caller>, End> {
        self.heard_at = Instant::now();
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(None),
            Some(Ok(Message::Binary(_))) => {
                return Err(End::close(close_code::UNSUPPORTED, "frames are text"));
            }
            Some(Err(_)) => {
                let rule = format!("frames must not be longer than {MAX_FRAME_BYTES} bytes");
                return Err(End::close(close_code::SIZE, rule));
            }
            Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
        };
        self.count_frame()?;
        let mut out = Outlet(&mut self.socket);
        match P::read(&text) {
            Ok(ClientMessage::Token(token)) => {
                return verify::<P>(&self.state, &token).await.map(Some);
            }
            Ok(ClientMessage::Frame(frame)) => self.protocol.handle(frame, &mut out).await?,
            Err(error) => out.send(P::refused(&error)).await?,
        }
        Ok(None)
    }

    fn count_frame(&mut self) -> Result<(), End> {
        let (since, count) = &mut self.counted;
        if since.elapsed() >= RATE_WINDOW {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        if *count > P::MAX_FRAMES_PER_SECOND {
            return Err(End::close(close_code::POLICY, "too many frames"));
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), End> {
        if self.heard_at.elapsed() > SILENCE_LIMIT {
            return Err(End::Gone);
        }
        let ping = Message::Ping(Default::default());
        Outlet(&mut self.socket).send_message(ping).await
    }
}

async fn verify<P: Protocol>(state: &AppState, token: &str) -> Result<Caller, End> {
    let verified = state.auth.verify(token).await;
    match verified.map_err(ApiError::from) {
        Ok(caller) if caller.has(&P::SCOPE) => Ok(caller),
        Ok(_) => Err(End::close(
            FORBIDDEN,
            ApiError::Forbidden(P::SCOPE).to_string(),
        )),
        Err(ApiError::Unauthorized(reason)) => Err(End::unauthorized(reason)),
        Err(error) => Err(End::unavailable(&error.to_string())),
    }
}
