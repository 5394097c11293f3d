//! A connection, which ends when nothing moves on it.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;
use super::gate::Place;

/// What a connection is doing.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// A head has been coming in since then.
    Head(Instant),
    /// A request is being answered.
    Busy,
    /// It speaks another protocol by now, which has limits of its own.
    HandedOver,
    /// The last answer has left; since then nothing has come in.
    Idle(Instant),
}

/// What a connection is doing, as its requests have it.
pub(super) struct Activity(Mutex<Phase>);

impl Activity {
    fn phase(&self) -> Phase {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// A request has come in.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.set(Phase::Busy);
        Busy(self.clone())
    }
}

/// A request is being answered; dropped once the answer has left.
pub(super) struct Busy(Arc<Activity>);

impl Busy {
    /// Goes on until the answer has been sent, or for good when the connection is handed over by
    /// it.
    pub fn until_sent(self, response: Response) -> Response {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.0.set(Phase::HandedOver);
            return response;
        }
        response.map(|body| {
            Body::new(Sending {
                body,
                _until_sent: self,
            })
        })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Phase::Busy = self.0.phase() {
            self.0.set(Phase::Idle(Instant::now()));
        }
    }
}

/// The body of an answer, which keeps its connection busy.
struct Sending {
    body: Body,
    _until_sent: Busy,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A client's connection with its place. Fails with [`ErrorKind::TimedOut`] when it has done
/// nothing for too long.
pub(super) struct Connection {
    stream: TcpStream,
    activity: Arc<Activity>,
    head: Duration,
    idle: Duration,
    /// Since when the client has taken nothing of what there is for it.
    stuck: Option<Instant>,
    /// Wakes the connection no later than its time is over; set when it is first waited for.
    alarm: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Connection {
    pub fn new(stream: TcpStream, place: Place, limits: &Limits) -> Self {
        let phase = Phase::Head(Instant::now());
        Self {
            stream,
            activity: Arc::new(Activity(Mutex::new(phase))),
            head: limits.head,
            idle: limits.idle,
            stuck: None,
            alarm: None,
            _place: place,
        }
    }

    pub fn activity(&self) -> Arc<Activity> {
        self.activity.clone()
    }

    /// When the connection ends unless something moves.
    fn deadline(&self) -> Option<Instant> {
        let phase = match self.activity.phase() {
            Phase::Head(since) => Some(since + self.head),
            Phase::Idle(since) => Some(since + self.idle),
            Phase::Busy | Phase::HandedOver => None,
        };
        let stuck = self.stuck.map(|since| since + self.idle);
        phase.into_iter().chain(stuck).min()
    }

    /// Ready with an error when the time is over.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while let Some(deadline) = self.deadline() {
            if deadline <= Instant::now() {
                return Poll::Ready(ErrorKind::TimedOut.into());
            }
            // One that rings too early is set anew then: most requests come and go before.
            let alarm = self
                .alarm
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if alarm.deadline() > deadline || alarm.is_elapsed() {
                alarm.as_mut().reset(deadline);
            }
            ready!(alarm.as_mut().poll(cx));
        }
        Poll::Pending
    }

    /// What came of a write, which is given up when the client takes nothing for too long.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stuck = None;
            return outcome;
        }
        self.stuck.get_or_insert_with(Instant::now);
        self.poll_deadline(cx).map(Err)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if outcome.is_pending() {
            return self.poll_deadline(cx).map(Err);
        }
        if let Phase::Idle(_) = self.activity.phase() {
            self.activity.set(Phase::Head(Instant::now()));
        }
        outcome
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
