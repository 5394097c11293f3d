//! Refreshing what is read most.

use reqwest::StatusCode;
use serde_json::{Value, json};
use sluice_queue::State;

use crate::harness::{Deployment, eventually, file, files};

#[tokio::test]
async fn the_most_frequently_read_files_go_into_the_cache() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 20)).await;
    // So that no change is still on its way to what is cached below.
    deployment.wait_until_tailed().await;
    for (id, reads) in [("ann-1", 3), ("ann-2", 2), ("ann-3", 1)] {
        for _ in 0..reads {
            client.cache_state("ann", id).await;
        }
    }
    deployment.wait_until_ranked("ann", "ann-3").await;
    client.invalidate("ann", "OUT").await;
    let answer = client.prefetch("ann", 2).await;
    assert_eq!(
        answer,
        (StatusCode::OK, json!({"user": "ann", "prefetched": 2}))
    );
    let mut cached = client.listed_ids("ann").await;
    cached.sort();
    assert_eq!(cached, ["ann-1", "ann-2"]);
    assert_eq!(client.cache_state("ann", "ann-1").await, "hit");
}

#[tokio::test]
async fn the_newest_files_follow_those_that_were_read() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 5)).await;
    // So that no change is still on its way to what is cached below.
    deployment.wait_until_tailed().await;
    client.cache_state("ann", "ann-0").await;
    deployment.wait_until_ranked("ann", "ann-0").await;
    for (limit, cached) in [
        (3, &["ann-0", "ann-3", "ann-4"][..]),
        (100, &["ann-0", "ann-1", "ann-2", "ann-3", "ann-4"]),
    ] {
        let answer = client.prefetch("ann", limit).await;
        assert_eq!(
            answer,
            (
                StatusCode::OK,
                json!({"user": "ann", "prefetched": cached.len()})
            )
        );
        let mut ids = client.listed_ids("ann").await;
        ids.sort();
        assert_eq!(ids, cached);
    }
}

#[tokio::test]
async fn an_entry_is_refreshed_to_what_convex_holds_now() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 3)).await;
    client.cache_state("ann", "ann-0").await;
    deployment.wait_until_ranked("ann", "ann-0").await;
    client.import(&[file("ann", "ann-0", 4711)]).await;
    client.prefetch("ann", 1).await;
    let entry: serde_json::Value = client.entry("ann", "ann-0").await.json().await.unwrap();
    assert_eq!(entry["size"].as_f64(), Some(4711.0));
}

#[tokio::test]
async fn a_user_who_leaves_before_the_sweeps_prefetch_runs_is_not_cached_again() {
    let deployment = Deployment::start_with(&[("SLUICE_PREFETCH_SCHEDULE", "* * * * * *")]).await;
    let client = &deployment.client;
    client.import(&files("ann", 3)).await;
    deployment.wait_until_tailed().await;
    let queues = deployment.queues().await;
    let jobs = async |state: State| {
        let all = queues.queues().await.unwrap();
        let found = all.iter().find(|queue| queue.name == "prefetch");
        found.map_or(0, |queue| queue.depth(state))
    };
    queues.pause("prefetch").await.unwrap();
    client.cache_state("ann", "ann-1").await;
    eventually("the sweep wants ann's entries kept warm", async || {
        jobs(State::Available).await > 0
    })
    .await;

    client.invalidate("ann", "OUT").await;
    queues.resume("prefetch").await.unwrap();
    eventually("that has been done", async || {
        jobs(State::Completed).await > 0 && jobs(State::Available).await == 0
    })
    .await;
    assert_eq!(
        client.list("ann").await.unwrap_or_default(),
        [] as [Value; 0]
    );

    // A reader of after the log-out is one again.
    client.cache_state("ann", "ann-1").await;
    eventually("a later sweep keeps all of what is hot warm", async || {
        client
            .list("ann")
            .await
            .is_ok_and(|cached| cached.len() == 3)
    })
    .await;
}

#[tokio::test]
async fn an_unknown_user_is_not_found() {
    let deployment = Deployment::start().await;
    let (status, body) = deployment.client.prefetch("nobody", 3).await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::NOT_FOUND, &json!("user_not_found"))
    );
}

#[tokio::test]
async fn the_schedule_refreshes_what_is_read_without_being_asked() {
    let settings = [
        ("SLUICE_PREFETCH_SCHEDULE", "* * * * * *"),
        // It would drop the entry by itself, for the next read to fetch it.
        ("SLUICE_TAIL", "off"),
    ];
    let deployment = Deployment::start_with(&settings).await;
    let client = &deployment.client;
    client.import(&files("ann", 3)).await;
    client.cache_state("ann", "ann-0").await;
    deployment.wait_until_ranked("ann", "ann-0").await;
    client.import(&[file("ann", "ann-0", 4711)]).await;
    eventually("the entry is refreshed", async || {
        let entry: serde_json::Value = client.entry("ann", "ann-0").await.json().await.unwrap();
        entry["size"].as_f64() == Some(4711.0)
    })
    .await;
    assert_eq!(client.cache_state("ann", "ann-0").await, "hit");
}
