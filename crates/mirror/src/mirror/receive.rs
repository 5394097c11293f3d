//! What comes from the server: its log, and what is done on this machine for it.

use std::io;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use sluice_client::{ChangesFrom, ClientError, Content};
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::Mirror;
use crate::error::MirrorError;
use crate::here::StepError;
use crate::plan::{Act, Plan, Step};
use crate::pull::Snapshot;
use crate::tree::Id;

/// Changes on a page.
const PAGE: u32 = 5000;
/// Contents that are downloaded at a time.
const DOWNLOADS: usize = 12;
/// A server that reads from a replica may be a little behind its own answers.
const LAG: Duration = Duration::from_millis(400);
const LAG_ATTEMPTS: u32 = 5;

impl Mirror {
    /// Reads the log up to its head.
    pub(super) async fn pull(&mut self) -> Result<(), MirrorError> {
        if self.trees.cursor == 0 {
            return self.reset().await;
        }
        let mut attempts = 0;
        loop {
            let since = self.trees.last_change.clone();
            let from = ChangesFrom {
                cursor: self.trees.cursor,
                since: since.as_deref(),
                limit: PAGE,
                wait: Duration::ZERO,
            };
            let page = match self.client.changes(&self.about.share, from).await {
                Ok(page) => page,
                Err(error) if error.is_reset() => return self.reset().await,
                Err(error) => return Err(error.into()),
            };
            if self.trees.has_lost(&page) {
                attempts += 1;
                if attempts > LAG_ATTEMPTS {
                    return self.reset().await;
                }
                sleep(LAG).await;
                continue;
            }
            self.trees.pull(&page, &self.about.device);
            if !page.has_more {
                return Ok(());
            }
            self.save_now_and_then()?;
        }
    }

    /// Takes a snapshot, at first and when the log does not lead on.
    pub(super) async fn reset(&mut self) -> Result<(), MirrorError> {
        let mut snapshot = Snapshot::default();
        let mut next: Option<String> = None;
        loop {
            let page = self
                .client
                .snapshot(&self.about.share, next.as_deref())
                .await?;
            if next.is_none() {
                snapshot.cursor = page.cursor;
            }
            snapshot.nodes.extend(page.items);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        let share = self.client.share(&self.about.share).await?;
        // What was deleted matters only for what was in step.
        let mut cursor = match self.trees.synced().is_empty() {
            true => snapshot.cursor,
            false => share.floor.saturating_sub(1),
        };
        loop {
            let from = ChangesFrom {
                cursor,
                limit: PAGE,
                ..ChangesFrom::default()
            };
            let page = self.client.changes(&self.about.share, from).await?;
            cursor = page.cursor;
            snapshot.log.extend(page.changes);
            snapshot.last_change = page.last_change_id;
            if !page.has_more {
                break;
            }
        }
        for (file, version) in self.trees.in_doubt(&snapshot) {
            let versions = match self.client.versions(&file).await {
                Ok(versions) => versions,
                Err(error) if error.code() == "NOT_FOUND" => continue,
                Err(error) => return Err(error.into()),
            };
            if versions.iter().any(|it| it.version_id == version) {
                snapshot.kept.insert(version);
            }
        }
        self.outbox = None;
        self.trees.reset(&snapshot);
        self.save()
    }

    pub(super) fn bytes_of(&self, plan: &Plan) -> u64 {
        let here = plan.steps.iter().map(|step| self.bytes_of_step(step));
        let there = plan.intents.iter().map(|intent| match &intent.act {
            Act::Create(_, Some(content)) | Act::Update(content, _) => content.size,
            _ => 0,
        });
        here.chain(there).sum()
    }

    fn bytes_of_step(&self, step: &Step) -> u64 {
        let Step::Fetch(id) = step else { return 0 };
        let content = self
            .trees
            .remote()
            .get(id)
            .and_then(|it| it.content.as_ref());
        content.map_or(0, |content| content.size)
    }

    /// Does steps, in order; contents that follow each other are downloaded at the same time.
    /// Whether any was done.
    pub(super) async fn receive(&mut self, steps: Vec<Step>) -> Result<bool, MirrorError> {
        let mut is_any = false;
        let mut rest = steps.as_slice();
        while let Some(first) = rest.first() {
            let is_fetch = |step: &&Step| matches!(step, Step::Fetch(_));
            let fetches = rest.iter().take_while(is_fetch).count();
            if fetches > 0 {
                is_any |= self.fetch(&rest[..fetches]).await?;
                rest = &rest[fetches..];
            } else {
                is_any |= self.step(first, Ok(()));
                rest = &rest[1..];
            }
            self.save_now_and_then()?;
        }
        Ok(is_any)
    }

    /// Does a step, if what it needs has come.
    fn step(&mut self, step: &Step, fetched: Result<(), StepError>) -> bool {
        let bytes = self.bytes_of_step(step);
        let done =
            fetched.and_then(|()| block_in_place(|| self.trees.perform(step, &mut self.folder)));
        let is_done = self.trees.step_failed(step, done);
        self.report_done(1, bytes);
        is_done
    }

    async fn fetch(&mut self, steps: &[Step]) -> Result<bool, MirrorError> {
        let mut downloads = Vec::new();
        for step in steps {
            let id = step.id();
            if let Some(download) = self.download(id) {
                downloads.push((step, download));
            }
        }
        let client = self.client.clone();
        let mut downloads = stream::iter(downloads)
            .map(|(step, download)| {
                let client = &client;
                async move { (step, download.run(client).await) }
            })
            .buffer_unordered(DOWNLOADS);
        let mut is_any = false;
        while let Some((step, outcome)) = downloads.next().await {
            let fetched = match outcome {
                Ok(()) => Ok(()),
                Err(error) if error.is_transient() || is_fatal(&error) => return Err(error.into()),
                Err(error) => Err(StepError::Fetch(error.to_string())),
            };
            is_any |= self.step(step, fetched);
            self.save_now_and_then()?;
        }
        Ok(is_any)
    }

    fn download(&self, id: &Id) -> Option<Download> {
        let remote = self.trees.remote().get(id)?;
        let (version, content) = (remote.version.clone()?, remote.content.clone()?);
        let part = self.folder.part(&version);
        Some(Download {
            file: id.clone(),
            version,
            content,
            part,
        })
    }
}

/// A content that is downloaded.
struct Download {
    file: Id,
    version: String,
    content: crate::tree::Content,
    part: io::Result<std::path::PathBuf>,
}

impl Download {
    async fn run(self, client: &sluice_client::Client) -> Result<(), ClientError> {
        let part = self.part.map_err(|source| ClientError::File {
            path: "the mirror's own folder".to_owned(),
            source,
        })?;
        let content = Content {
            file: &self.file,
            version: &self.version,
            size: self.content.size,
            sha256: &self.content.sha256,
        };
        client.download(&content, &part).await
    }
}

/// Whether an error is of the caller, and not of what was asked for.
pub(super) fn is_fatal(error: &ClientError) -> bool {
    error
        .status()
        .is_some_and(|status| matches!(status.as_u16(), 401 | 403))
}
