//! Hints of the system that something in the folder has changed. They may be missed or mean nothing:
//! the truth is what a scan finds.

use std::path::Path;
use std::sync::Arc;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::name::OWN_FOLDER;

/// Hints, as long as it is kept.
pub struct Watch {
    hints: Arc<Notify>,
    /// None when the system gives no hints, for lack of watches or at all.
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Asks for hints of a folder and all in it. With why there are none, if so.
    pub fn start(folder: &Path) -> (Self, Option<String>) {
        let hints = Arc::new(Notify::new());
        let (sender, own) = (hints.clone(), folder.join(OWN_FOLDER));
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let is_hint = event.as_ref().map_or(true, |event| {
                let is_own = event.paths.iter().all(|path| path.starts_with(&own));
                !matches!(event.kind, EventKind::Access(_)) && !is_own
            });
            if is_hint {
                sender.notify_one();
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        let why = watcher.as_ref().err().map(ToString::to_string);
        let watcher = watcher.ok();
        (Self { hints, watcher }, why)
    }

    /// Comes when something may have changed.
    pub async fn hint(&self) {
        match &self.watcher {
            Some(_) => self.hints.notified().await,
            None => std::future::pending().await,
        }
    }
}
