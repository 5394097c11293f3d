//! Changes in Convex reach the cache and whoever listens, whatever happens to the workers.

use serde_json::{Value, json};

use crate::harness::{Deployment, eventually, file, files};
use crate::nudges::Nudges;

/// Looks for changes often, so that tests take no longer than they must.
const QUICK: [(&str, &str); 1] = [("SLUICE_TAIL_INTERVAL_MS", "20")];

/// A deployment whose tail has come to know of all files.
async fn tailing(documents: &[Value]) -> Deployment {
    let deployment = Deployment::start_with(&QUICK).await;
    deployment.client.import(documents).await;
    deployment.wait_until_tailed().await;
    deployment
}

/// Id and version of all cached entries of a user, by id.
async fn cached(deployment: &Deployment, user: &str) -> Vec<(String, u64)> {
    let entries = deployment.client.list(user).await.unwrap();
    let mut entries: Vec<(String, u64)> = entries
        .iter()
        .map(|entry| {
            let size = entry["size"].as_f64().unwrap();
            (entry["id"].as_str().unwrap().to_owned(), size as u64)
        })
        .collect();
    entries.sort();
    entries
}

#[tokio::test]
async fn a_change_in_convex_refreshes_the_cache_and_is_told_once() {
    let deployment = tailing(&files("ann", 3)).await;
    let client = &deployment.client;
    client.sync("ann", "allOne").await;
    let nudges = Nudges::listen(&deployment.valkey).await;

    client
        .import(&[file("ann", "ann-1", 77), file("ann", "ann-new", 78)])
        .await;
    client.delete_from_convex(&["ann-2"]).await;
    nudges.wait_for(3).await;

    assert_eq!(
        cached(&deployment, "ann").await,
        [("ann-0", 0), ("ann-1", 77), ("ann-new", 78)].map(|(id, size)| (id.to_owned(), size))
    );
    let told: Vec<Value> = nudges.all();
    let of = |id: &str| {
        let mut of_id = told.iter().filter(|nudge| nudge["id"] == id);
        let nudge = of_id.next().unwrap();
        assert!(of_id.next().is_none(), "{told:?}");
        (nudge["change"].clone(), nudge["user"].clone())
    };
    assert_eq!(of("ann-1"), (json!("updated"), json!("ann")));
    assert_eq!(of("ann-new"), (json!("created"), json!("ann")));
    assert_eq!(of("ann-2"), (json!("deleted"), json!("ann")));
}

#[tokio::test]
async fn an_entry_that_was_cached_by_itself_is_read_as_it_is_now() {
    let deployment = tailing(&files("ann", 2)).await;
    let client = &deployment.client;
    for id in ["ann-0", "ann-1"] {
        assert_eq!(client.cache_state("ann", id).await, "miss");
        assert_eq!(client.cache_state("ann", id).await, "hit");
    }
    client.import(&[file("ann", "ann-0", 77)]).await;
    client.delete_from_convex(&["ann-1"]).await;
    eventually("the change is seen", async || {
        let entry: Value = client.entry("ann", "ann-0").await.json().await.unwrap();
        let gone = client.entry("ann", "ann-1").await.status() == 404;
        entry["size"] == 77.0 && gone
    })
    .await;
}

#[tokio::test]
async fn a_file_that_changes_hands_leaves_one_user_and_comes_to_the_other() {
    let deployment = tailing(&[files("ann", 2), files("ben", 1)].concat()).await;
    let client = &deployment.client;
    for user in ["ann", "ben"] {
        client.sync(user, "allOne").await;
    }
    let nudges = Nudges::listen(&deployment.valkey).await;
    client.import(&[file("ben", "ann-1", 5)]).await;
    nudges.wait_for(1).await;
    assert_eq!(client.listed_ids("ann").await, ["ann-0"]);
    let mut bens = client.listed_ids("ben").await;
    bens.sort();
    assert_eq!(bens, ["ann-1", "ben-0"]);
    let nudge = &nudges.all()[0];
    assert_eq!(
        (&nudge["user"], &nudge["formerUser"]),
        (&json!("ben"), &json!("ann"))
    );
}
