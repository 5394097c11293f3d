//! Pages of documents on their way out: written by a blocking thread while the response is already
//! being sent.

use std::fs::File;
use std::future::ready;
use std::io::{Seek, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tempfile::tempfile_in;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::catalog::Tablet;
use super::error::RequestError;
use super::selection::Columns;
use super::value::{Format, Value, write_string};
use super::{Embedded, document};

/// Large enough that sending costs little per byte, small enough that a response holds little
/// memory.
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks written ahead of the client.
const CHUNKS_AHEAD: usize = 4;
/// How long the thread that writes a page waits for its client in all. What the client has not
/// taken then goes into a file, so that it holds neither a thread nor a view of the database.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where a page is written to.
pub(super) struct PageSink {
    buffer: Vec<u8>,
    chunks: mpsc::Sender<Bytes>,
    patience: Duration,
    /// The rest of the page once the client proved slow, and where the file is made.
    rest: Option<File>,
    folder: PathBuf,
    runtime: Handle,
}

impl PageSink {
    /// A sink whose pages go nowhere: its text stays to be looked at, as long as it is less than a
    /// chunk.
    #[cfg(test)]
    pub fn detached() -> PageSink {
        PageSink::new(mpsc::channel(1).0, PathBuf::new())
    }

    fn new(chunks: mpsc::Sender<Bytes>, folder: PathBuf) -> PageSink {
        PageSink {
            buffer: Vec::with_capacity(16 * 1024),
            chunks,
            patience: PATIENCE,
            rest: None,
            folder,
            runtime: Handle::current(),
        }
    }

    /// The text so far. Call [`flush_full`](PageSink::flush_full) after each document appended to
    /// it.
    pub fn text(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub fn push(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    /// Passes on what was written once it is a chunk's worth. Errors: the client is gone; the disk
    /// is full.
    pub fn flush_full(&mut self) -> Result<(), RequestError> {
        if self.buffer.len() < CHUNK_BYTES {
            return Ok(());
        }
        let next = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
        let chunk = std::mem::replace(&mut self.buffer, next);
        self.pass(chunk)
    }

    fn pass(&mut self, chunk: Vec<u8>) -> Result<(), RequestError> {
        let gone = || RequestError::internal("The client did not take the page.");
        if let Some(rest) = &mut self.rest {
            if self.chunks.is_closed() {
                return Err(gone());
            }
            return Ok(rest.write_all(&chunk)?);
        }
        let room = match self.chunks.try_reserve() {
            Err(TrySendError::Full(())) => {
                let began = Instant::now();
                let room = timeout(self.patience, self.chunks.reserve());
                let room = self.runtime.block_on(room);
                self.patience = self.patience.saturating_sub(began.elapsed());
                room.ok().transpose().map_err(|_| gone())?
            }
            room => Some(room.map_err(|_| gone())?),
        };
        match room {
            Some(room) => room.send(chunk.into()),
            None => {
                let mut rest = tempfile_in(&self.folder)?;
                rest.write_all(&chunk)?;
                self.rest = Some(rest);
            }
        }
        Ok(())
    }

    /// Passes on what is left. Returns the file with what was not sent, if there is one.
    fn finish(mut self) -> Result<Option<File>, RequestError> {
        let last = std::mem::take(&mut self.buffer);
        self.pass(last)?;
        if let Some(rest) = &mut self.rest {
            rest.rewind()?;
        }
        Ok(self.rest)
    }
}

/// What of a page is still to be sent.
enum Unsent {
    /// Chunks as they are written, and then the end: perhaps a file with the rest.
    Chunks(
        mpsc::Receiver<Bytes>,
        oneshot::Receiver<Result<Option<File>, RequestError>>,
    ),
    Rest(tokio::fs::File),
}

impl Unsent {
    /// The next piece of the page. `None`: that was all.
    async fn next(self) -> Result<Option<(Bytes, Unsent)>, RequestError> {
        let mut rest = match self {
            Unsent::Chunks(mut chunks, end) => match chunks.recv().await {
                Some(chunk) => return Ok(Some((chunk, Unsent::Chunks(chunks, end)))),
                None => {
                    let unwritten = |_| RequestError::internal("The page could not be written.");
                    match end.await.map_err(unwritten)?? {
                        Some(rest) => tokio::fs::File::from_std(rest),
                        None => return Ok(None),
                    }
                }
            },
            Unsent::Rest(rest) => rest,
        };
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        let read = rest.read_buf(&mut chunk).await?;
        Ok((read > 0).then(|| (chunk.freeze(), Unsent::Rest(rest))))
    }
}

/// Answers 200 with the JSON that `produce` writes, which runs on a blocking thread. An error
/// before the first chunk becomes the response; a later one breaks the connection off, so that the
/// client cannot take a part for the whole.
pub(super) async fn stream(
    embedded: &Embedded,
    produce: impl FnOnce(&mut PageSink) -> Result<(), RequestError> + Send + 'static,
) -> Result<Response, RequestError> {
    let (chunks, received) = mpsc::channel(CHUNKS_AHEAD);
    let (end, ended) = oneshot::channel();
    let mut sink = PageSink::new(chunks, embedded.inner.config.data_dir.clone());
    tokio::task::spawn_blocking(move || {
        let written = produce(&mut sink).and_then(|()| sink.finish());
        // When the client is gone there is no receiver.
        let _ = end.send(written);
    });
    let first = Unsent::Chunks(received, ended).next().await?;
    let (first, unsent) =
        first.ok_or_else(|| RequestError::internal("The page could not be written."))?;
    let first = stream::once(ready(Ok(first)));
    let chunks = first.chain(stream::try_unfold(unsent, Unsent::next));
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
