//! One content on its way in: its length is reserved, its bytes become durable part by part, and only
//! then is there a version. What breaks in between leaves an upload that its user may go on with, if
//! it has a name, and nothing otherwise.

use std::error::Error;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sluice_objects::{ContentHash, Layout, Progress, Writer, hex};
use sluice_store::StoreError;
use sluice_store::filesync::{Caller, FilesyncError, Opened, Upload, UploadedVersion};

use super::transfer::{NewContent, TransferError, Transfers, name};

/// An upload that this process writes.
struct Intake<'a> {
    transfers: &'a Transfers,
    caller: &'a Caller,
    new: &'a NewContent,
    upload: Upload,
}

/// Takes a content in.
pub(super) async fn take<S, E>(
    transfers: &Transfers,
    caller: &Caller,
    new: &NewContent,
    body: S,
) -> Result<UploadedVersion, TransferError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Error,
{
    let opened = transfers
        .filesync
        .open_upload(caller, &new.share, &new.upload);
    let intake = match opened.await? {
        Opened::Made(version) => return Ok(version),
        Opened::Open(upload) => Intake {
            transfers,
            caller,
            new,
            upload,
        },
    };
    let taken = intake.run(body).await;
    if let Err(error) = &taken
        && (new.upload.name.is_none() || error.is_about_content())
    {
        intake.end().await;
    }
    taken
}

impl Intake<'_> {
    async fn run<S, E>(&self, body: S) -> Result<UploadedVersion, TransferError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Error,
    {
        let mut writer = self.writer()?;
        let filled = self.fill(&mut writer, body).await;
        match filled {
            Ok(()) => self.finish(writer).await,
            Err(error) => {
                // What is under way comes in before anything is said or removed.
                if let Ok(Some(progress)) = writer.settle().await {
                    let _ = self.advance(&writer, &progress).await;
                }
                Err(error)
            }
        }
    }

    /// A writer that goes on where the upload is.
    fn writer(&self) -> Result<Writer, TransferError> {
        let Upload {
            version,
            offset,
            writer,
            parts,
            hash,
            ..
        } = &self.upload;
        let state = match offset {
            0 => Some((Layout::default(), ContentHash::default())),
            _ => parts.parse().ok().zip(ContentHash::resume(hash)),
        };
        let (layout, hash): (Layout, _) = state.ok_or_else(corrupt)?;
        let name = name(&self.caller.tenant, &self.new.share, version);
        let layout = layout.resumed(*offset, *writer);
        Ok(self.transfers.objects.write(name, layout, *offset, hash))
    }

    /// Writes the body, and checks it.
    async fn fill<S, E>(&self, writer: &mut Writer, mut body: S) -> Result<(), TransferError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Error,
    {
        let size = self.new.upload.size;
        let wanted = self.new.body_sha256;
        let mut hash = wanted.map(|_| ContentHash::default());
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|_| TransferError::Cut(writer.taken()))?;
            if writer.taken() + piece.len() as u64 > size {
                return Err(TransferError::Length);
            }
            if let Some(hash) = &mut hash {
                hash.update(&piece);
            }
            if let Some(progress) = writer.write(piece).await? {
                self.advance(writer, &progress).await?;
            }
        }
        if writer.taken() < size {
            return Err(TransferError::Cut(writer.taken()));
        }
        match hash.map(ContentHash::digest) == wanted {
            true => Ok(()),
            false => Err(TransferError::Digest),
        }
    }

    async fn advance(&self, writer: &Writer, progress: &Progress) -> Result<(), FilesyncError> {
        let (filesync, parts) = (&self.transfers.filesync, writer.layout().to_string());
        let Progress { offset, hash } = progress;
        let advanced = filesync.advance_upload(self.caller, &self.upload, *offset, &parts, hash);
        advanced.await
    }

    /// Makes a version of what was written.
    async fn finish(&self, writer: Writer) -> Result<UploadedVersion, TransferError> {
        let written = writer.finish().await?;
        if self
            .new
            .sha256
            .is_some_and(|wanted| wanted != written.sha256)
        {
            return Err(TransferError::Digest);
        }
        let (filesync, parts) = (&self.transfers.filesync, written.content.layout.to_string());
        let sha256 = hex(&written.sha256);
        let finished = filesync.finish_upload(self.caller, &self.upload, &parts, &sha256);
        finished.await?;
        Ok(UploadedVersion {
            id: self.upload.version.clone(),
            size: written.content.size,
            sha256,
        })
    }

    /// Ends the upload without a version, unless another writer has taken it over. What fails here
    /// is left to the sweep.
    async fn end(&self) {
        let Upload {
            version, writer, ..
        } = &self.upload;
        let ended = self
            .transfers
            .end(self.caller, &self.new.share, version, Some(*writer));
        if let Err(error) = ended.await {
            tracing::warn!(%error, version, "an upload is left to the sweep");
        }
    }
}

fn corrupt() -> FilesyncError {
    StoreError::Corrupt("an upload").into()
}
