//! Contents on their way in: from a file, and on after an interruption.

use std::io::SeekFrom;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, RequestBuilder, StatusCode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::Client;
use crate::client::Waiting;
use crate::error::ClientError;
use crate::hex::unhex;
use crate::types::Uploaded;

/// Up to this many bytes are sent from memory, and begun anew rather than gone on with.
const SMALL_BYTES: u64 = 4 * 1024 * 1024;
/// The slowest connection that an upload is not given up on, in bytes a second.
const SLOWEST: u64 = 32 * 1024;
const LIMIT: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 256 * 1024;

/// A content that is to be uploaded.
#[derive(Clone, Copy, Debug)]
pub struct NewContent<'a> {
    /// The share that the file is or will be in.
    pub share: &'a str,
    /// The file's id.
    pub file: &'a str,
    /// Names the upload: the same for each attempt, another for each content.
    pub upload: &'a str,
    /// Bytes of the content.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: &'a str,
    /// Its media type.
    pub mime: Option<&'a str>,
}

impl Client {
    /// Uploads the content of a file on this machine. An upload that an earlier process began is
    /// gone on with.
    ///
    /// # Errors
    /// [`ClientError::Changed`] when the file has not the size and digest that were named;
    /// [`ClientError::File`]; `SYNC_QUOTA`.
    pub async fn upload(
        &self,
        new: &NewContent<'_>,
        source: &Path,
    ) -> Result<Uploaded, ClientError> {
        let is_small = new.size <= SMALL_BYTES;
        let mut waiting = Waiting::new(self.attempts());
        let mut is_first = is_small;
        let mut last = 0;
        loop {
            let sent = match is_first {
                true => self.send_from(new, source, 0).await,
                false => match self.upload_offset(new).await {
                    Ok(offset) => {
                        if offset > last {
                            last = offset;
                            waiting.progressed();
                        }
                        self.send_from(new, source, offset).await
                    }
                    Err(error) => Err(error),
                },
            };
            is_first = is_small;
            match sent {
                Ok(uploaded) if uploaded.sha256 == new.sha256 => return Ok(uploaded),
                Ok(_) => return Err(ClientError::Changed),
                Err(error) if error.code() == "SYNC_DIGEST" => return Err(ClientError::Changed),
                // It goes on elsewhere, or another request has it; ask where.
                Err(error) if error.code() == "SYNC_OFFSET" => {
                    is_first = false;
                    waiting
                        .before_next(ClientError::Socket(error.to_string()))
                        .await?;
                }
                Err(error) => waiting.before_next(error).await?,
            }
        }
    }

    /// Where an upload goes on.
    async fn upload_offset(&self, new: &NewContent<'_>) -> Result<u64, ClientError> {
        let answer = match self.attempt(self.upload_request(Method::HEAD, new)).await {
            Ok(answer) => answer,
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => return Ok(0),
            Err(error) => return Err(error),
        };
        let number = |name: &str| {
            let value = answer.headers().get(name);
            value.and_then(|it| it.to_str().ok()?.parse::<u64>().ok())
        };
        Ok(number("upload-offset").unwrap_or_default().min(new.size))
    }

    fn upload_request(&self, method: Method, new: &NewContent<'_>) -> RequestBuilder {
        self.request(method, &["sync", "upload", new.file])
            .query(&[("share_id", new.share), ("upload_id", new.upload)])
    }

    async fn send_from(
        &self,
        new: &NewContent<'_>,
        source: &Path,
        offset: u64,
    ) -> Result<Uploaded, ClientError> {
        let cannot_read = |source_error| ClientError::File {
            path: source.display().to_string(),
            source: source_error,
        };
        let mut file = File::open(source).await.map_err(cannot_read)?;
        if file.metadata().await.map_err(cannot_read)?.len() != new.size {
            return Err(ClientError::Changed);
        }
        file.seek(SeekFrom::Start(offset))
            .await
            .map_err(cannot_read)?;
        let left = new.size - offset;
        let mut rest = file.take(left);
        let body = if left <= SMALL_BYTES {
            let mut bytes = Vec::with_capacity(usize::try_from(left).unwrap_or_default());
            rest.read_to_end(&mut bytes).await.map_err(cannot_read)?;
            if bytes.len() as u64 != left {
                return Err(ClientError::Changed);
            }
            Body::from(bytes)
        } else {
            Body::wrap_stream(ReaderStream::with_capacity(rest, READ_BYTES))
        };
        let digest = STANDARD.encode(unhex(new.sha256).unwrap_or_default());
        let mut request = self
            .upload_request(Method::PUT, new)
            .query(&[("offset", offset)])
            .header(CONTENT_LENGTH, left)
            .header("repr-digest", format!("sha-256=:{digest}:"))
            .timeout(LIMIT + Duration::from_secs(left / SLOWEST))
            .body(body);
        if let Some(mime) = new.mime {
            request = request.header(CONTENT_TYPE, mime);
        }
        let answer = self.attempt(request).await?;
        let answer = answer
            .bytes()
            .await
            .map_err(|error| self.unreachable(error))?;
        serde_json::from_slice(&answer).map_err(|error| ClientError::Answer(error.to_string()))
    }
}
