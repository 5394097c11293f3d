//! Reading a range of a content: one piece is read ahead of the reader.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt, unfold};
use object_store::path::Path;
use object_store::{GetOptions, GetResultPayload, ObjectStore};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::attempts::{Attempts, limited};
use crate::{Content, Objects, ObjectsError};

/// What is read of a file at a time.
const PIECE: u64 = 512 * 1024;
/// Pieces that wait for the reader.
const AHEAD: usize = 1;

/// What the reader gets.
type Piece = Result<Bytes, ObjectsError>;

/// The way to the reader.
struct Reader {
    pieces: mpsc::Sender<Piece>,
    /// Where the next piece begins in the content.
    at: u64,
}

/// Why reading has ended early.
enum Stop {
    /// The reader wants no more.
    Gone,
    Failed(ObjectsError),
}

impl<E: Into<ObjectsError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Objects {
    /// The bytes of a range of the content, in pieces. Nothing is read before the first is asked for.
    /// Ends with an error when a part cannot be read; all before it is as it was written.
    pub fn read(
        &self,
        content: Content,
        range: Range<u64>,
    ) -> impl Stream<Item = Piece> + Send + use<> {
        let objects = self.clone();
        let begin = move || {
            let (pieces, receiver) = mpsc::channel(AHEAD);
            let reader = Reader {
                pieces,
                at: range.start,
            };
            tokio::spawn(async move { objects.send(&content, range.end, reader).await });
            receiver
        };
        unfold((None, Some(begin)), |(receiver, begin)| async move {
            let mut receiver: mpsc::Receiver<Piece> = match (receiver, begin) {
                (Some(receiver), _) => receiver,
                (None, begin) => begin?(),
            };
            let piece = receiver.recv().await?;
            Some((piece, (Some(receiver), None)))
        })
    }

    /// Sends the bytes up to `end`, and an error if one has to be given up.
    async fn send(&self, content: &Content, end: u64, mut reader: Reader) {
        let mut attempts = Attempts::of("get");
        while reader.at < end {
            let begun_at = reader.at;
            let outcome = self.send_part(content, end, &mut reader).await;
            if reader.at > begun_at {
                attempts.succeeded();
            }
            match outcome {
                Ok(()) => {}
                Err(Stop::Gone) => return,
                Err(Stop::Failed(error)) => {
                    if let Err(error) = attempts.failed(error).await {
                        let _ = reader.pieces.send(Err(error)).await;
                        return;
                    }
                }
            }
        }
    }

    /// Sends the bytes of the part that is next, up to its end or to `end`.
    async fn send_part(
        &self,
        content: &Content,
        end: u64,
        reader: &mut Reader,
    ) -> Result<(), Stop> {
        let part = content.layout.part(reader.at);
        let part = part.ok_or(ObjectsError::Missing)?;
        let end = end.min(part.range.end);
        let range = reader.at - part.range.start..end - part.range.start;
        let is_whole = range.start == 0 && end == part.range.end.min(content.size);
        let mut pieces = self
            .part(&content.name.part(&part), range, is_whole)
            .await?;
        while reader.at < end {
            let next = async { pieces.next().await.unwrap_or(Err(ObjectsError::Missing)) };
            let mut piece = limited(next).await?;
            piece.truncate(usize::try_from(end - reader.at).unwrap_or(usize::MAX));
            metrics::counter!("sluice_objects_read_bytes_total").increment(piece.len() as u64);
            reader.at += piece.len() as u64;
            let sent = reader.pieces.send(Ok(piece)).await;
            sent.map_err(|_| Stop::Gone)?;
        }
        Ok(())
    }

    /// The bytes of a range of an object, as they come. Of the whole of it no range is asked for: not
    /// every server calls that one.
    async fn part(
        &self,
        path: &Path,
        range: Range<u64>,
        is_whole: bool,
    ) -> Result<BoxStream<'static, Piece>, ObjectsError> {
        let begun = Instant::now();
        let options = GetOptions {
            range: (!is_whole).then(|| range.clone().into()),
            ..GetOptions::default()
        };
        let found = limited(self.store.get_opts(path, options)).await?;
        metrics::histogram!("sluice_objects_call_seconds", "call" => "get")
            .record(begun.elapsed().as_secs_f64());
        Ok(match found.payload {
            GetResultPayload::File(file, _) => pieces_of(file, range).boxed(),
            GetResultPayload::Stream(pieces) => pieces.map(|piece| Ok(piece?)).boxed(),
        })
    }
}

/// The bytes of a range of a file. The stream that the store makes of it has pieces of 8 KiB, each of
/// which costs a way to another thread and back.
fn pieces_of(file: File, range: Range<u64>) -> impl Stream<Item = Piece> + Send {
    unfold(Some((file, range)), |state| async move {
        let (mut file, Range { start, end }) = state.filter(|(_, range)| !range.is_empty())?;
        let length = PIECE.min(end - start);
        let read = spawn_blocking(move || {
            let mut piece = Vec::with_capacity(length as usize);
            file.seek(SeekFrom::Start(start))?;
            (&mut file).take(length).read_to_end(&mut piece)?;
            Ok::<_, std::io::Error>((Bytes::from(piece), file))
        });
        match read.await {
            // A file that ends here is shorter than its layout says.
            Ok(Ok((piece, _))) if piece.is_empty() => None,
            Ok(Ok((piece, file))) => {
                let next = start + piece.len() as u64..end;
                Some((Ok(piece), Some((file, next))))
            }
            Ok(Err(error)) => Some((Err(error.into()), None)),
            Err(error) => Some((Err(object_store::Error::from(error).into()), None)),
        }
    })
}
