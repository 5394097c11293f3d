//! The calls of file sync that carry no content.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use serde_json::json;

use crate::Client;
use crate::error::ClientError;
use crate::types::{
    ChangePage, Conflict, Device, DeviceStatus, FileVersion, NewChange, NewDevice, Outcomes,
    Resolution, Share, SharePage, SnapshotPage,
};

/// What an answer that is held needs beyond its wait.
const MARGIN: Duration = Duration::from_secs(30);

/// From where changes are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChangesFrom<'a> {
    /// The cursor of the page before.
    pub cursor: u64,
    /// The `last_change_id` of the page before.
    pub since: Option<&'a str>,
    /// Changes on a page, 5,000 at most.
    pub limit: u32,
    /// How long the answer may be held while there are no changes.
    pub wait: Duration,
}

/// What a device did.
#[derive(Clone, Debug, Serialize)]
pub struct Apply<'a> {
    /// The device.
    pub device_id: &'a str,
    /// The share.
    pub share_id: &'a str,
    /// What is to happen where changes conflict.
    pub conflict_resolution: Resolution,
    /// The position up to which the device had applied the share's changes.
    pub base_cursor: u64,
    /// The time on this machine's clock, in RFC 3339.
    pub sent_at: &'a str,
    /// In order; 1,000 at most.
    pub changes: &'a [NewChange],
    /// Whether to delete more of the share than it allows within an hour.
    #[serde(skip)]
    pub is_confirmed: bool,
}

impl Client {
    /// All shares that the caller can see, by id.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`], [`ClientError::Refused`]; so all calls.
    pub async fn shares(&self) -> Result<Vec<Share>, ClientError> {
        let mut all = Vec::new();
        let mut page: Option<String> = None;
        loop {
            let request = || {
                let request = self.request(Method::GET, &["shares"]);
                request
                    .query(&[("limit", "1000")])
                    .query(&page.as_ref().map(|it| [("page", it)]))
            };
            let answer: SharePage = self.json(request).await?;
            all.extend(answer.items);
            match answer.next {
                Some(next) => page = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// One share.
    ///
    /// # Errors
    /// 404 when the caller may not see it.
    pub async fn share(&self, id: &str) -> Result<Share, ClientError> {
        self.json(|| self.request(Method::GET, &["shares", id]))
            .await
    }

    /// Makes a share. Not sent again when its answer is lost, as it has no id by which a repetition
    /// is known.
    ///
    /// # Errors
    /// See [`Client::shares`].
    pub async fn create_share(&self, name: &str) -> Result<Share, ClientError> {
        let request = self.request(Method::POST, &["shares"]);
        let answer = self.attempt(request.json(&json!({"name": name}))).await?;
        let body = answer
            .bytes()
            .await
            .map_err(|error| self.unreachable(error))?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Answer(error.to_string()))
    }

    /// Registers a device, or says again what it is.
    ///
    /// # Errors
    /// See [`Client::shares`].
    pub async fn register(&self, device: &NewDevice) -> Result<Device, ClientError> {
        let request = || {
            self.request(Method::POST, &["sync", "devices"])
                .json(device)
        };
        self.json(request).await
    }

    /// Says that a device is alive.
    ///
    /// # Errors
    /// 404 when there is no such device.
    pub async fn heartbeat(&self, device: &str) -> Result<(), ClientError> {
        let path = ["sync", "devices", device, "heartbeat"];
        self.send(|| self.request(Method::POST, &path)).await?;
        Ok(())
    }

    /// A page of a share's log.
    ///
    /// # Errors
    /// [`ClientError::is_reset`] when the log does not lead on from the cursor.
    pub async fn changes(
        &self,
        share: &str,
        from: ChangesFrom<'_>,
    ) -> Result<ChangePage, ClientError> {
        let request = || {
            let request = self.share_request(Method::GET, "changes", share);
            let request = request
                .query(&[
                    ("cursor", from.cursor),
                    ("limit", u64::from(from.limit.max(1))),
                ])
                .query(&from.since.map(|since| [("since", since)]));
            if from.wait.is_zero() {
                return request;
            }
            request
                .query(&[("wait", from.wait.as_secs())])
                .timeout(from.wait + MARGIN)
        };
        self.json(request).await
    }

    /// A page of a share's tree; without `page` the first.
    ///
    /// # Errors
    /// See [`Client::share`].
    pub async fn snapshot(
        &self,
        share: &str,
        page: Option<&str>,
    ) -> Result<SnapshotPage, ClientError> {
        let request = || {
            let request = self.share_request(Method::GET, "snapshot", share);
            request.query(&page.map(|page| [("page", page)]))
        };
        self.json(request).await
    }

    /// Sends what a device did. Made again until it is answered: the changes have ids.
    ///
    /// # Errors
    /// [`ClientError::is_reset`] when the base is past the share's head; `SYNC_MASS_DELETE`.
    pub async fn apply(&self, batch: &Apply<'_>) -> Result<Outcomes, ClientError> {
        let request = || {
            let request = self.request(Method::POST, &["sync", "apply"]);
            let request = request.query(&[("confirm", batch.is_confirmed)]);
            request.json(batch)
        };
        self.json(request).await
    }

    /// Tells how far a device has applied a share's changes.
    ///
    /// # Errors
    /// [`ClientError::is_reset`] when that is past the share's head.
    pub async fn move_cursor(
        &self,
        share: &str,
        device: &str,
        position: u64,
    ) -> Result<(), ClientError> {
        let request = || {
            let request = self.share_request(Method::POST, "cursor", share);
            let position = position.to_string();
            request.query(&[("device_id", device), ("position", &position)])
        };
        self.send(request).await?;
        Ok(())
    }

    /// How far a device is behind a share, as the server knows it.
    ///
    /// # Errors
    /// See [`Client::share`].
    pub async fn status(&self, share: &str, device: &str) -> Result<DeviceStatus, ClientError> {
        let request = || {
            let request = self.share_request(Method::GET, "status", share);
            request.query(&[("device_id", device)])
        };
        self.json(request).await
    }

    /// The versions of a file that are kept, the newest first.
    ///
    /// # Errors
    /// 404 when there is no such file, or the caller may not see it.
    pub async fn versions(&self, file: &str) -> Result<Vec<FileVersion>, ClientError> {
        let path = ["sync", "files", file, "versions"];
        self.json(|| self.request(Method::GET, &path)).await
    }

    /// The open conflicts of a share.
    ///
    /// # Errors
    /// See [`Client::share`].
    pub async fn conflicts(&self, share: &str) -> Result<Vec<Conflict>, ClientError> {
        self.json(|| self.share_request(Method::GET, "conflicts", share))
            .await
    }

    /// Resolves a conflict.
    ///
    /// # Errors
    /// 409 when it was resolved in another way.
    pub async fn resolve(&self, id: &str, how: Resolution) -> Result<Conflict, ClientError> {
        let path = ["sync", "conflicts", id, "resolve"];
        let request = || {
            self.request(Method::POST, &path)
                .query(&[("resolution", how)])
        };
        self.json(request).await
    }

    fn share_request(&self, method: Method, call: &str, share: &str) -> RequestBuilder {
        self.request(method, &["sync", call])
            .query(&[("share_id", share)])
    }
}
