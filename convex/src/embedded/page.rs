//! Pages of documents on their way out: written by a blocking thread while the response is already being sent.

use std::io::Write;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::catalog::Tablet;
use super::document;
use super::error::RequestError;
use super::selection::Columns;
use super::value::{Format, Value, write_string};

/// Large enough that sending costs little per byte, small enough that a response holds little memory.
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks written ahead of the client.
const CHUNKS_AHEAD: usize = 4;
/// How long a client may take to receive a page, and how long it may receive nothing of it. It holds a thread and a view of the
/// database for that long.
const PAGE_TIMEOUT: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a page is written to.
pub(super) struct PageSink {
    buffer: Vec<u8>,
    chunks: mpsc::Sender<Result<Bytes, RequestError>>,
    deadline: Instant,
    runtime: Handle,
}

impl PageSink {
    /// A sink whose pages go nowhere: its text stays to be looked at, as long as it is less than a chunk.
    #[cfg(test)]
    pub fn detached() -> PageSink {
        PageSink::new(mpsc::channel(1).0)
    }

    fn new(chunks: mpsc::Sender<Result<Bytes, RequestError>>) -> PageSink {
        PageSink {
            buffer: Vec::with_capacity(16 * 1024),
            chunks,
            deadline: Instant::now() + PAGE_TIMEOUT,
            runtime: Handle::current(),
        }
    }

    /// The text so far. Call [`flush_full`](PageSink::flush_full) after each document appended to it.
    pub fn text(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub fn push(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    /// Sends what was written once it is a chunk's worth. Error: the client is gone or too slow.
    pub fn flush_full(&mut self) -> Result<(), RequestError> {
        if self.buffer.len() < CHUNK_BYTES {
            return Ok(());
        }
        let next = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
        let chunk = std::mem::replace(&mut self.buffer, next);
        self.send(Ok(chunk.into()))
    }

    fn send(&self, chunk: Result<Bytes, RequestError>) -> Result<(), RequestError> {
        let deadline = self.deadline.min(Instant::now() + PATIENCE);
        let sent = self
            .runtime
            .block_on(timeout_at(deadline, self.chunks.send(chunk)));
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(RequestError::internal("The client did not take the page.")),
        }
    }
}

/// Answers 200 with the JSON that `produce` writes, which runs on a blocking thread. An error before the first chunk becomes the
/// response; a later one breaks the connection off, so that the client cannot take a part for the whole.
pub(super) async fn stream(
    produce: impl FnOnce(&mut PageSink) -> Result<(), RequestError> + Send + 'static,
) -> Result<Response, RequestError> {
    let (chunks, mut received) = mpsc::channel(CHUNKS_AHEAD);
    let mut sink = PageSink::new(chunks);
    tokio::task::spawn_blocking(move || {
        let last = produce(&mut sink).map(|()| Bytes::from(std::mem::take(&mut sink.buffer)));
        // When the client is gone there is nobody to tell.
        let _ = sink.send(last);
    });
    let first = match received.recv().await {
        Some(first) => first?,
        None => return Err(RequestError::internal("The page could not be written.")),
    };
    let chunks = stream::unfold(
        (Some(first), received),
        |(first, mut received)| async move {
            let chunk = match first {
                Some(first) => Ok(first),
                None => received.recv().await?,
            };
            Some((chunk, (None, received)))
        },
    );
    let body = Body::from_stream(chunks);
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// What export rows carry in front of the document's own fields.
pub(super) struct RowHead {
    /// `{"_component":…,"_table":…,"_ts":`
    start: Vec<u8>,
}

impl RowHead {
    pub fn new(tablet: &Tablet) -> RowHead {
        let mut start = Vec::from(&b"{\"_component\":"[..]);
        write_string(&tablet.component, &mut start);
        start.extend_from_slice(b",\"_table\":");
        write_string(&tablet.name, &mut start);
        start.extend_from_slice(b",\"_ts\":");
        RowHead { start }
    }

    /// Appends everything up to the comma before the first field.
    pub fn write(&self, ts: i64, deleted: Option<bool>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.start);
        // Writing to a Vec does not fail.
        let _ = write!(out, "{ts}");
        match deleted {
            None => {}
            Some(true) => out.extend_from_slice(b",\"_deleted\":true"),
            Some(false) => out.extend_from_slice(b",\"_deleted\":false"),
        }
        out.push(b',');
    }
}

/// Appends the selected fields of a stored document, and the object's end.
pub(super) fn write_fields(
    text: &[u8],
    tagged: bool,
    columns: &Columns,
    format: Format,
    out: &mut Vec<u8>,
) -> Result<(), RequestError> {
    // The row's object is open already: the document goes in without its first brace.
    if columns.is_all() && (!tagged || format == Format::Encoded) {
        out.extend_from_slice(text.get(1..).unwrap_or_default());
        return Ok(());
    }
    let mut fields = document::fields(text, tagged)?;
    columns.keep(&mut fields);
    let mut object = Vec::with_capacity(text.len());
    Value::Object(fields).write(format, &mut object);
    out.extend_from_slice(object.get(1..).unwrap_or_default());
    Ok(())
}
