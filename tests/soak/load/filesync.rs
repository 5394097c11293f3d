//! Devices that change a share of file sync, readers who follow its log, and a socket.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{one_in, pause};
use crate::call::Call;
use crate::caller::Caller;
use crate::harness::SECRET;
use crate::history::Event;

const EDITORS: usize = 3;
const READERS: usize = 2;
const WATCHER: &str = "watcher";
/// A socket stays so long at most, and comes back.
const STAY_MS: u64 = 6_000;
const RETURN: Duration = Duration::from_millis(100);

/// A share that devices change.
#[derive(Clone)]
pub struct Share {
    /// As its owner.
    pub caller: Caller,
    pub id: String,
}

impl Share {
    /// Makes it, and the devices.
    pub async fn make(caller: &Caller, round: usize) -> Self {
        let claims = json!({
            "sub": format!("owner{round}"), "tenant_id": "soak", "exp": 4_000_000_000_u64,
            "scope": "files:read files:write",
        });
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap();
        let caller = caller.with_token(token);
        let name = format!("share{round}");
        let made = caller.persist(&Call::Share { name }).await.unwrap();
        let devices = (0..EDITORS).map(editor).chain([WATCHER.to_owned()]);
        for device in devices {
            caller.persist(&Call::Device { device }).await.unwrap();
        }
        let id = made.body["id"].as_str().unwrap().to_owned();
        Self { caller, id }
    }

    /// What goes on until the load's end.
    pub fn tasks(&self, tasks: &mut JoinSet<Vec<super::Leaver>>) {
        for at in 0..EDITORS {
            let share = self.clone();
            tasks.spawn(async move {
                share.edit(&editor(at)).await;
                Vec::new()
            });
        }
        for _ in 0..READERS {
            let share = self.clone();
            tasks.spawn(async move {
                share.read().await;
                Vec::new()
            });
        }
        let share = self.clone();
        tasks.spawn(async move {
            share.watch().await;
            Vec::new()
        });
    }

    /// Creates files and folders of its own; renames and deletes some of them, each once.
    async fn edit(&self, device: &str) {
        let mut number = 0;
        while !self.caller.is_over() {
            number += 1;
            let id = format!("{device}-{number}");
            let is_file = one_in(3);
            let kind = if is_file { "file" } else { "folder" };
            let mut change = json!({
                "id": format!("{id}-created"), "resource_type": kind, "change_type": "created",
                "resource_id": id, "new_path": format!("/{id}"),
            });
            if is_file {
                let Some(version) = self.upload(&id).await else {
                    return;
                };
                change["version_id"] = version;
            }
            if !self.tell(device, change).await {
                return;
            }
            if one_in(2) {
                let change = json!({
                    "id": format!("{id}-renamed"), "resource_type": kind, "change_type": "renamed",
                    "resource_id": id, "old_path": format!("/{id}"),
                    "new_path": format!("/{id}-new"),
                });
                if !self.tell(device, change).await {
                    return;
                }
            }
            // Files stay, since their contents are looked at in the end.
            if !is_file && one_in(2) {
                let change = json!({
                    "id": format!("{id}-deleted"), "resource_type": kind, "change_type": "deleted",
                    "resource_id": id,
                });
                if !self.tell(device, change).await {
                    return;
                }
            }
            pause(100).await;
        }
    }

    /// Whether a change was answered; some are sent once more then.
    async fn tell(&self, device: &str, change: Value) -> bool {
        let call = Call::Edit {
            share: self.id.clone(),
            device: device.to_owned(),
            change,
        };
        let answer = self.caller.persist(&call).await;
        if answer.is_some() && one_in(8) {
            self.caller.once(&call).await;
        }
        answer.is_some()
    }

    async fn upload(&self, file: &str) -> Option<Value> {
        let call = Call::Upload {
            share: self.id.clone(),
            file: file.to_owned(),
            text: format!("the content of {file}"),
        };
        let answer = self.caller.persist(&call).await?;
        Some(answer.body["version_id"].clone()).filter(Value::is_string)
    }

    /// Follows the log from its beginning on, again and again.
    async fn read(&self) {
        let (mut after, mut since) = (0, None);
        while !self.caller.is_over() {
            let call = Call::Changes {
                share: self.id.clone(),
                after,
                since: since.clone(),
            };
            if let Some(answer) = self.caller.once(&call).await
                && answer.status == 200
            {
                after = answer.body["cursor"].as_u64().unwrap();
                since = answer.body["last_change_id"].as_str().map(str::to_owned);
                if answer.body["has_more"] == false && one_in(20) {
                    (after, since) = (0, None);
                }
            }
            pause(100).await;
        }
    }

    async fn watch(&self) {
        while !self.caller.is_over() {
            let stay = Duration::from_millis(rand::random_range(STAY_MS / 10..STAY_MS));
            let _ = timeout(stay, self.frames()).await;
            sleep(RETURN).await;
        }
    }

    async fn frames(&self) -> Result<(), Error> {
        let host = self.caller.api().replace("http://", "ws://");
        let at = format!(
            "{host}/api/v1/sync/ws/{WATCHER}?token={}",
            self.caller.token
        );
        let (mut socket, _) = connect_async(at).await?;
        socket
            .send(Message::text(r#"{"type":"subscribe"}"#))
            .await?;
        while let Some(frame) = socket.next().await {
            let Message::Text(text) = frame? else {
                continue;
            };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["event_type"] == "change" {
                self.caller.history.record(Event::Frame {
                    share: frame["share_id"].as_str().unwrap().to_owned(),
                    position: frame["data"]["position"].as_u64().unwrap(),
                    id: frame["data"]["id"].as_str().unwrap().to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Records the log, and the contents of the files whose creation is in it.
    pub async fn settle(&self) {
        let mut changes: Vec<Value> = Vec::new();
        loop {
            let call = Call::Changes {
                share: self.id.clone(),
                after: changes.len() as u64,
                since: None,
            };
            let page = self.caller.send(&call).await.unwrap();
            assert_eq!(page.status, 200, "{page:?}");
            changes.extend(page.body["changes"].as_array().unwrap().iter().cloned());
            if page.body["has_more"] == false {
                break;
            }
        }
        let is_new = |it: &&Value| it["resource_type"] == "file" && it["change_type"] == "created";
        for change in changes.iter().filter(is_new) {
            let file = change["resource_id"].as_str().unwrap().to_owned();
            let call = Call::Download { file: file.clone() };
            let answer = self.caller.send(&call).await.unwrap();
            self.caller.history.record(Event::Content {
                file,
                status: answer.status,
                text: answer.text.unwrap_or_default(),
            });
        }
        self.caller.history.record(Event::Log {
            share: self.id.clone(),
            changes,
        });
    }
}

fn editor(at: usize) -> String {
    format!("editor{at}")
}
