//! A round: load while parts break, then rest, then a look at the history.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::call::Call;
use crate::caller::Caller;
use crate::checker::check;
use crate::cluster::Cluster;
use crate::harness::files;
use crate::history::History;
use crate::load::{FILES, Listener, Load, Names, Share, Watching, first_import, sync_call};
use crate::nemesis;
use crate::settle::settle;

/// How long calls are tried again once all parts are whole.
const GRACE: Duration = Duration::from_secs(60);
const SCOPES: &str = "meta:read meta:write docs:read docs:write";

/// Gives what the checker finds wrong; the history is in `file`.
pub async fn run(
    cluster: &mut Cluster,
    round: usize,
    seed: u64,
    load: Duration,
    file: &Path,
) -> Vec<String> {
    let history = Arc::new(History::create(file));
    let names = Names::of_round(round);
    let lifetime = (load + GRACE * 10).as_secs() as i64;
    let token = cluster.client.token("service", SCOPES, lifetime);
    let caller = Caller::new(
        &cluster.api_urls,
        &cluster.convex_url,
        token,
        history.clone(),
    );
    let caller = caller.lasting(load, GRACE);

    prepare(cluster, &caller, &names).await;
    let nudges = Listener::begin(cluster.valkey.url(), history.clone());
    let watched = [names.shared(), vec![names.mortal()]].concat();
    let watching = Watching::begin(&caller, &watched);
    let share = Share::make(&caller, round).await;
    let running = Load::begin(cluster, &caller, &names, &share);
    nemesis::rage(cluster, &history, seed, caller.end).await;
    cluster.wait_until_ready().await;
    let leavers = running.end().await;
    settle(cluster, &caller, &names, &leavers, &watching).await;
    share.settle().await;
    drop((nudges, watching));
    check(&history.read())
}

/// What the load expects to be there.
async fn prepare(cluster: &Cluster, caller: &Caller, names: &Names) {
    // Makes the table and its index, too.
    cluster.client.import(&files("nobody", 1)).await;
    for document in names.shared() {
        let key = "create".to_owned();
        caller.persist(&Call::Create { document, key }).await;
    }
    for user in names.keepers() {
        caller.persist(&first_import(&user, FILES)).await;
        let key = format!("{user}-sync-first");
        caller
            .persist(&sync_call(&user, "allOne", key, false))
            .await;
    }
}
