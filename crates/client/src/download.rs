//! Contents on their way out: into a file, and on after an interruption.

use std::path::Path;

use futures_util::StreamExt as _;
use reqwest::header::{IF_RANGE, RANGE};
use reqwest::{Method, StatusCode};
use sha2::{Digest, Sha256};
use tokio::fs::{File, OpenOptions, remove_file};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::Client;
use crate::client::Waiting;
use crate::error::ClientError;
use crate::hex::hex;

const READ_BYTES: usize = 256 * 1024;

/// A content that is to be downloaded.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The file's id.
    pub file: &'a str,
    /// The version.
    pub version: &'a str,
    /// Its bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: &'a str,
}

impl Client {
    /// Downloads a content into a file on this machine, which is synced to the disk. When the file
    /// is there already, it is taken for the beginning of the content.
    ///
    /// # Errors
    /// [`ClientError::Digest`] when it is another content, and the file is removed;
    /// [`ClientError::File`]; 404 when the version is not kept.
    pub async fn download(&self, content: &Content<'_>, target: &Path) -> Result<(), ClientError> {
        let mut part = Part::open(content, target).await?;
        let mut waiting = Waiting::new(self.attempts());
        while part.length < content.size {
            let before = part.length;
            match self.fetch(content, &mut part).await {
                Ok(()) => {}
                Err(error) => {
                    if part.length > before {
                        waiting.progressed();
                    }
                    waiting.before_next(error).await?;
                }
            }
        }
        part.finish(content).await
    }

    /// Fetches what is missing, up to where the connection breaks.
    async fn fetch(&self, content: &Content<'_>, part: &mut Part<'_>) -> Result<(), ClientError> {
        let path = ["sync", "download", content.file];
        let mut request = self
            .request(Method::GET, &path)
            .query(&[("version", content.version)])
            // Nothing limits how long it takes but that it has to go on.
            .timeout(std::time::Duration::from_secs(24 * 3600));
        if part.length > 0 {
            request = request
                .header(RANGE, format!("bytes={}-", part.length))
                .header(IF_RANGE, format!("\"sha256-{}\"", content.sha256));
        }
        let answer = self.attempt(request).await?;
        if part.length > 0 && answer.status() != StatusCode::PARTIAL_CONTENT {
            part.begin_anew().await?;
        }
        let mut body = answer.bytes_stream();
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| self.unreachable(error))?;
            part.append(&bytes, content.size).await?;
        }
        if part.length < content.size {
            return Err(ClientError::Socket("the content broke off".to_owned()));
        }
        Ok(())
    }
}

/// The file that a content is downloaded into.
struct Part<'a> {
    path: &'a Path,
    file: File,
    length: u64,
    hash: Sha256,
}

impl<'a> Part<'a> {
    async fn open(content: &Content<'_>, path: &'a Path) -> Result<Self, ClientError> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options
            .open(path)
            .await
            .map_err(|error| cannot(path, error))?;
        let hash = Sha256::new();
        let mut part = Self {
            path,
            file,
            length: 0,
            hash,
        };
        let there = part
            .file
            .metadata()
            .await
            .map_err(|error| cannot(path, error))?;
        if there.len() > content.size {
            part.begin_anew().await?;
        }
        let mut buffer = vec![0; READ_BYTES];
        while there.len() <= content.size {
            let read = part
                .file
                .read(&mut buffer)
                .await
                .map_err(|error| cannot(path, error))?;
            if read == 0 {
                break;
            }
            part.hash.update(&buffer[..read]);
            part.length += read as u64;
        }
        Ok(part)
    }

    async fn begin_anew(&mut self) -> Result<(), ClientError> {
        use tokio::io::AsyncSeekExt as _;

        let path = self.path;
        self.file
            .set_len(0)
            .await
            .map_err(|error| cannot(path, error))?;
        self.file
            .rewind()
            .await
            .map_err(|error| cannot(path, error))?;
        self.length = 0;
        self.hash = Sha256::new();
        Ok(())
    }

    async fn append(&mut self, bytes: &[u8], most: u64) -> Result<(), ClientError> {
        if self.length + bytes.len() as u64 > most {
            let _ = remove_file(self.path).await;
            return Err(ClientError::Digest);
        }
        let path = self.path;
        self.file
            .write_all(bytes)
            .await
            .map_err(|error| cannot(path, error))?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    async fn finish(mut self, content: &Content<'_>) -> Result<(), ClientError> {
        if hex(&self.hash.finalize()) != content.sha256 {
            let _ = remove_file(self.path).await;
            return Err(ClientError::Digest);
        }
        let path = self.path;
        self.file
            .flush()
            .await
            .map_err(|error| cannot(path, error))?;
        self.file
            .sync_data()
            .await
            .map_err(|error| cannot(path, error))
    }
}

fn cannot(path: &Path, source: std::io::Error) -> ClientError {
    ClientError::File {
        path: path.display().to_string(),
        source,
    }
}
