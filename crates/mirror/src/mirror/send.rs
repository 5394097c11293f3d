//! What goes to the server: contents, and the changes that name them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use sluice_client::types::{NewChange, Resolution};
use sluice_client::{Apply, Client, ClientError, NewContent, hex};

use super::receive::is_fatal;
use super::{Mirror, Report, now};
use crate::error::MirrorError;
use crate::outcome::Sent;
use crate::plan::{Act, Intent};
use crate::state::Outbox;
use crate::tree::Content;

/// Changes that are sent together.
const BATCH: usize = 250;
/// How long a change waits for others to be sent with.
const BATCH_WAIT: Duration = Duration::from_millis(700);
/// How often a batch is sent whose device the server does not know, or has put to sleep.
const DELIVERIES: u32 = 3;
/// Contents that are uploaded at a time.
const UPLOADS: usize = 12;

/// An intent, and the content that it needs on the server.
struct Outgoing {
    intent: Intent,
    upload: Option<Upload>,
    modified: Option<i64>,
}

struct Upload {
    share: String,
    name: String,
    path: PathBuf,
    content: Content,
    mime: Option<&'static str>,
}

impl Upload {
    /// The version that it becomes.
    async fn run(&self, client: &Client, file: &str) -> Result<String, ClientError> {
        let new = NewContent {
            share: &self.share,
            file,
            upload: &self.name,
            size: self.content.size,
            sha256: &self.content.sha256,
            mime: self.mime,
        };
        Ok(client.upload(&new, &self.path).await?.version_id)
    }
}

impl Mirror {
    /// Sends again what was not answered.
    pub(super) async fn resend(&mut self) -> Result<(), MirrorError> {
        for _ in 0..DELIVERIES {
            if self.outbox.is_none() {
                return Ok(());
            }
            self.deliver().await?;
        }
        match self.outbox {
            Some(_) => Err(MirrorError::Undelivered),
            None => Ok(()),
        }
    }

    /// Sends changes, in order. Whether any has arrived.
    pub(super) async fn send(&mut self, intents: Vec<Intent>) -> Result<bool, MirrorError> {
        let outgoing: Vec<Outgoing> = intents.into_iter().map(|it| self.outgoing(it)).collect();
        let client = self.client.clone();
        let mut uploads = stream::iter(outgoing)
            .map(|it| {
                let client = &client;
                async move {
                    let version = match &it.upload {
                        Some(upload) => Some(upload.run(client, &it.intent.id).await),
                        None => None,
                    };
                    (it, version.transpose())
                }
            })
            .buffered(UPLOADS);
        let mut batch: Vec<Sent> = Vec::new();
        let (mut base, mut since, mut is_any) = (0, Instant::now(), false);
        while let Some((it, version)) = uploads.next().await {
            let bytes = it.upload.as_ref().map_or(0, |it| it.content.size);
            self.report_done(1, bytes);
            let version = match version {
                Ok(version) => version,
                // The next scan sees what it is now.
                Err(ClientError::Changed) => continue,
                Err(error) if error.code() == "FORBIDDEN" => {
                    self.is_read_only = true;
                    return Ok(true);
                }
                Err(error) if error.is_transient() || is_fatal(&error) => {
                    self.flush(&mut batch, base).await?;
                    return Err(error.into());
                }
                Err(error) => {
                    self.trees.note(&it.intent.id, error.to_string());
                    continue;
                }
            };
            // Deletions stay among themselves: a share that holds them back holds back nothing else.
            let is_deletion = |intent: &Intent| matches!(intent.act, Act::Delete(_));
            let is_other = batch.last().is_some_and(|last| {
                it.intent.base != base || is_deletion(&last.intent) != is_deletion(&it.intent)
            });
            let is_due = batch.len() >= BATCH || since.elapsed() > BATCH_WAIT;
            if !batch.is_empty() && (is_due || is_other) {
                is_any = true;
                if !self.flush(&mut batch, base).await? {
                    // What was planned behind it is out of date.
                    return Ok(true);
                }
            }
            if batch.is_empty() {
                (base, since) = (it.intent.base, Instant::now());
            }
            let id = self.trees.new_id("chg");
            batch.push(Sent::new(id, it.intent, version, it.modified));
        }
        is_any |= !batch.is_empty();
        self.flush(&mut batch, base).await?;
        Ok(is_any)
    }

    fn outgoing(&self, intent: Intent) -> Outgoing {
        let content = match &intent.act {
            Act::Create(_, Some(content)) | Act::Update(content, _) => Some(content.clone()),
            _ => None,
        };
        let local = self.trees.local().get(&intent.id);
        let modified = local
            .and_then(|it| it.stamp)
            .map(|it| it.modified / 1_000_000);
        let path = self.trees.local().path(&intent.id);
        let upload = content.zip(path).map(|(content, path)| {
            let base = match &intent.act {
                Act::Update(_, Some(version)) => version.as_str(),
                _ => "",
            };
            let name = format!("{} {} {base}", intent.id, content.sha256);
            Upload {
                share: self.about.share.clone(),
                name: hex(&Sha256::digest(name)[..16]),
                mime: mime_guess::from_path(&path).first_raw(),
                path: self.folder.at(&path),
                content,
            }
        });
        Outgoing {
            intent,
            upload,
            modified,
        }
    }

    /// Sends a batch and takes in the answer. Whether all happened as it was meant.
    async fn flush(&mut self, batch: &mut Vec<Sent>, base: u64) -> Result<bool, MirrorError> {
        if batch.is_empty() {
            return Ok(true);
        }
        let sent = std::mem::take(batch);
        self.outbox = Some(Outbox { base, sent });
        // It has to be known after a crash, too, whose answer these changes get.
        self.save()?;
        self.deliver().await
    }

    async fn deliver(&mut self) -> Result<bool, MirrorError> {
        let Some(Outbox { base, sent }) = self.outbox.clone() else {
            return Ok(true);
        };
        let changes: Vec<NewChange> = sent.iter().map(|it| it.change.clone()).collect();
        let batch = Apply {
            device_id: &self.about.device,
            share_id: &self.about.share,
            conflict_resolution: Resolution::KeepBoth,
            base_cursor: base,
            sent_at: &now().unwrap_or_default(),
            changes: &changes,
            is_confirmed: self.config.confirms_deletions,
        };
        let outcomes = match self.client.apply(&batch).await {
            Ok(outcomes) => outcomes,
            Err(error) if error.is_reset() => {
                self.reset().await?;
                return Ok(false);
            }
            Err(error) => return self.refused(error).await,
        };
        self.outbox = None;
        for it in &outcomes.conflicts {
            let detail = it.detail.as_deref().unwrap_or(&it.reason);
            tracing::debug!(outcome = ?it.outcome, detail, "a change was not applied");
        }
        let is_plain = self.trees.answered(&sent, &outcomes);
        let copies = outcomes.applied.iter().filter(|it| {
            use sluice_client::types::Outcome::{Copied, Suffixed};
            matches!(it.outcome, Copied | Suffixed)
        });
        for path in copies.filter_map(|it| it.path.as_deref()) {
            (self.observer)(Report::Note(format!("kept both: {path}")));
        }
        self.save()?;
        Ok(is_plain)
    }

    /// A batch that was refused as a whole.
    async fn refused(&mut self, error: ClientError) -> Result<bool, MirrorError> {
        match error.code() {
            // What was deleted of it before comes with the log.
            "SYNC_MASS_DELETE" => {
                self.outbox = None;
                self.save()?;
                Err(MirrorError::HeldBack)
            }
            "DEVICE_INACTIVE" => {
                self.client.heartbeat(&self.about.device).await?;
                Ok(false)
            }
            "FORBIDDEN" => {
                self.outbox = None;
                self.is_read_only = true;
                Ok(false)
            }
            "NOT_FOUND" => {
                self.client.share(&self.about.share).await?;
                self.register().await?;
                Ok(false)
            }
            "SYNC_ID_REUSED" | "INVALID_REQUEST" | "TOO_LARGE" => {
                self.outbox = None;
                self.save()?;
                Err(error.into())
            }
            _ => Err(error.into()),
        }
    }
}
