//! What callers do in a round, surface by surface. Each task goes on until the load's end.

mod documents;
mod files;
mod filesync;
mod leavers;
mod nudges;
mod watchers;

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::caller::Caller;
use crate::cluster::{Cluster, INLINE, QUEUED};

pub use files::{FILES, first_import, sync_call};
pub use filesync::Share;
pub use leavers::keys_of;
pub use nudges::Listener;
pub use watchers::Watching;

/// Names of one round, so that rounds have nothing in common.
#[derive(Clone)]
pub struct Names {
    round: usize,
}

impl Names {
    pub fn of_round(round: usize) -> Self {
        Self { round }
    }

    /// Documents that all write and watch.
    pub fn shared(&self) -> Vec<String> {
        let round = self.round;
        [(INLINE, "a"), (INLINE, "b"), (QUEUED, "c")]
            .map(|(service, id)| format!("{service}/{id}{round}"))
            .to_vec()
    }

    /// A document that lives again and again.
    pub fn mortal(&self) -> String {
        format!("{INLINE}/mortal{}", self.round)
    }

    /// Users whose files change and are cached all along.
    pub fn keepers(&self) -> Vec<String> {
        (0..2)
            .map(|n| format!("keeper{}-{n}", self.round))
            .collect()
    }
}

/// All tasks of a round; the users who left are what they give.
pub struct Load {
    tasks: JoinSet<Vec<Leaver>>,
}

/// A user who left for good.
pub struct Leaver {
    pub user: String,
    /// `OUT` or `DEL`.
    pub kind: String,
}

impl Load {
    pub fn begin(cluster: &Cluster, caller: &Caller, names: &Names, share: &Share) -> Self {
        let mut tasks = JoinSet::new();
        share.tasks(&mut tasks);
        let mut spawn = |task: documents::Task| {
            tasks.spawn(async move {
                task.await;
                Vec::new()
            });
        };
        for document in names.shared() {
            spawn(Box::pin(documents::write_keyed(
                caller.clone(),
                document.clone(),
            )));
            spawn(Box::pin(documents::write_later(caller.clone(), document)));
        }
        for document in names.shared().into_iter().take(2) {
            spawn(Box::pin(documents::write_once(
                caller.clone(),
                document.clone(),
            )));
            for _ in 0..2 {
                spawn(Box::pin(documents::contend(
                    caller.clone(),
                    document.clone(),
                )));
            }
        }
        spawn(Box::pin(documents::write_batches(
            caller.clone(),
            names.shared(),
        )));
        spawn(Box::pin(documents::read(caller.clone(), names.shared())));
        for service in [INLINE, QUEUED] {
            let prefix = format!("{service}/own{}", names.round);
            spawn(Box::pin(documents::step(caller.clone(), prefix)));
        }
        spawn(Box::pin(documents::live(caller.clone(), names.mortal())));
        for user in names.keepers() {
            spawn(Box::pin(files::import(caller.clone(), user.clone())));
            spawn(Box::pin(files::sync(caller.clone(), user.clone())));
            spawn(Box::pin(files::read(caller.clone(), user)));
        }
        for n in 0..2 {
            let prefix = format!("leaver{}-{n}", names.round);
            tasks.spawn(leavers::come_and_leave(
                caller.clone(),
                prefix,
                cluster.valkey.url(),
            ));
        }
        Self { tasks }
    }

    /// Waits for all and gives the users who left.
    pub async fn end(self) -> Vec<Leaver> {
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}

/// A pause of up to so many ms.
async fn pause(most_ms: u64) {
    sleep(Duration::from_millis(rand::random_range(0..=most_ms))).await;
}

/// One in `n`.
fn one_in(n: u32) -> bool {
    rand::random_range(0..n) == 0
}
