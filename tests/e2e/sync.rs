//! The four types of sync, at and over the limit.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Client, Deployment, file, files};

/// Bytes that the limit counts for one cached entry: its id and its serialized text.
async fn counted_bytes(client: &Client, user: &str, id: &str) -> usize {
    let answer = client.entry(user, id).await;
    assert_eq!(answer.status(), StatusCode::OK);
    id.len() + answer.text().await.unwrap().len()
}

/// Has the worker run with another limit from here on.
fn set_limit(deployment: &mut Deployment, bytes: usize) {
    deployment.workers.clear();
    let bytes = bytes.to_string();
    let worker = deployment.worker_with(&[("SLUICE_SYNC_LIMIT_BYTES", &bytes)]);
    deployment.workers.push(worker);
}

#[tokio::test]
async fn each_type_loads_every_file_of_a_small_user_into_the_bulk_set() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("somebody-else", 20)).await;
    for kind in ["allOne", "allTwo", "mostOne", "mostTwo"] {
        // A user each: the read below would make its file the only active one.
        let user = format!("ann-{kind}");
        client.import(&files(&user, 300)).await;
        let answer = client.sync(&user, kind).await;
        assert_eq!(
            answer,
            (
                StatusCode::OK,
                json!({"user": user, "synced": 300, "skipped": 0})
            )
        );
        assert_eq!(
            client.cache_state(&user, &format!("{user}-7")).await,
            "bulk"
        );
        let newest_first: Vec<String> = (0..300).rev().map(|n| format!("{user}-{n}")).collect();
        assert_eq!(client.listed_ids(&user).await, newest_first);
    }
}

#[tokio::test]
async fn the_cap_bites_at_the_exact_byte() {
    let mut deployment = Deployment::start().await;
    let client = deployment.client.clone();
    client.import(&files("ann", 40)).await;
    client.sync("ann", "allOne").await;
    let mut total = 0;
    for id in client.listed_ids("ann").await {
        total += counted_bytes(&client, "ann", &id).await;
    }

    set_limit(&mut deployment, total);
    let answer = client.sync("ann", "allOne").await;
    assert_eq!(
        answer,
        (
            StatusCode::OK,
            json!({"user": "ann", "synced": 40, "skipped": 0})
        )
    );

    set_limit(&mut deployment, total - 1);
    let (status, body) = client.sync("ann", "allOne").await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::BAD_REQUEST, &json!("limit_exceeded"))
    );
    let answer = client.sync("ann", "allTwo").await;
    assert_eq!(
        answer,
        (
            StatusCode::OK,
            json!({"user": "ann", "synced": 39, "skipped": 1})
        )
    );
}

#[tokio::test]
async fn a_type_that_may_not_skip_leaves_untouched_what_readers_saw() {
    let mut deployment = Deployment::start().await;
    let client = deployment.client.clone();
    client.import(&files("ann", 10)).await;
    client.sync("ann", "allOne").await;
    let before = client.list("ann").await.unwrap();
    client
        .import(
            &(10..20)
                .map(|n| file("ann", &format!("ann-{n}"), n))
                .collect::<Vec<_>>(),
        )
        .await;

    set_limit(&mut deployment, 1000);
    for kind in ["allOne", "mostOne"] {
        let (status, body) = client.sync("ann", kind).await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::BAD_REQUEST, &json!("limit_exceeded")),
            "{kind}"
        );
        assert_eq!(client.list("ann").await.unwrap(), before, "{kind}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_skipped_while_smaller_files_after_it_still_go_in() {
    let mut deployment = Deployment::start().await;
    let client = deployment.client.clone();
    let mut documents = files("ann", 6);
    documents[3]["filenameEnc"] = Value::from("x".repeat(5000));
    client.import(&documents).await;
    client.sync("ann", "allOne").await;
    let mut small = 0;
    for id in ["ann-5", "ann-4", "ann-2", "ann-1", "ann-0"] {
        small += counted_bytes(&client, "ann", id).await;
    }

    deployment.wait_until_ranked("ann", "ann-0").await;
    set_limit(&mut deployment, small);
    // The reads above made all five small files active; the big one is the only one without a
    // score.
    for kind in ["allTwo", "mostTwo"] {
        let (status, body) = client.sync("ann", kind).await;
        let skipped = u64::from(kind == "allTwo");
        assert_eq!(
            (status, &body["synced"], &body["skipped"]),
            (StatusCode::OK, &json!(5), &json!(skipped))
        );
        assert!(!client.listed_ids("ann").await.contains(&"ann-3".to_owned()));
    }
}

#[tokio::test]
async fn room_goes_to_the_most_active_files_first_and_then_to_the_newest() {
    let mut deployment = Deployment::start().await;
    let client = deployment.client.clone();
    client.import(&files("ann", 9)).await;
    client.sync("ann", "allOne").await;
    assert_eq!(
        client.listed_ids("ann").await[..3],
        ["ann-8", "ann-7", "ann-6"]
    );

    // All entries are of one length, so that the limit is a number of files.
    let one = counted_bytes(&client, "ann", "ann-2").await;
    for _ in 0..3 {
        client.cache_state("ann", "ann-2").await;
    }
    client.cache_state("ann", "ann-4").await;
    client.cache_state("ann", "ann-4").await;
    client.cache_state("ann", "ann-0").await;
    deployment.wait_until_ranked("ann", "ann-0").await;
    set_limit(&mut deployment, one * 5 + one / 2);
    let expected = ["ann-2", "ann-4", "ann-0", "ann-8", "ann-7"];
    for _ in 0..2 {
        let answer = client.sync("ann", "allTwo").await;
        assert_eq!(
            answer,
            (
                StatusCode::OK,
                json!({"user": "ann", "synced": 5, "skipped": 4})
            )
        );
        assert_eq!(client.listed_ids("ann").await, expected);
    }
    let answer = client.sync("ann", "mostTwo").await;
    assert_eq!(
        answer,
        (
            StatusCode::OK,
            json!({"user": "ann", "synced": 3, "skipped": 0})
        )
    );
    assert_eq!(client.listed_ids("ann").await, expected[..3]);
}

#[tokio::test]
async fn the_most_active_group_has_a_size_and_falls_back_to_the_newest_files() {
    let deployment = Deployment::start_with(&[("SLUICE_MOST_ACTIVE_LIMIT", "4")]).await;
    let client = &deployment.client;
    client.import(&files("ann", 12)).await;
    for kind in ["mostOne", "mostTwo"] {
        let answer = client.sync("ann", kind).await;
        assert_eq!(
            answer,
            (
                StatusCode::OK,
                json!({"user": "ann", "synced": 4, "skipped": 0})
            )
        );
        assert_eq!(
            client.listed_ids("ann").await,
            ["ann-11", "ann-10", "ann-9", "ann-8"]
        );
    }
}

#[tokio::test]
async fn a_user_without_files_is_not_found() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 1)).await;
    for kind in ["allOne", "allTwo", "mostOne", "mostTwo"] {
        let (status, body) = client.sync("nobody", kind).await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::NOT_FOUND, &json!("user_not_found")),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn a_sync_replaces_scattered_entries_and_lives_longer_than_they_do() {
    let settings = [
        ("SLUICE_ENTRY_TTL_SECS", "2"),
        ("SLUICE_SYNC_TTL_SECS", "600"),
    ];
    let deployment = Deployment::start_with(&settings).await;
    let client = &deployment.client;
    client.import(&files("ann", 3)).await;
    // So that no change is still on its way to what is cached below.
    deployment.wait_until_tailed().await;
    assert_eq!(client.cache_state("ann", "ann-1").await, "miss");
    assert_eq!(client.cache_state("ann", "ann-1").await, "hit");
    client.sync("ann", "allTwo").await;
    assert_eq!(client.cache_state("ann", "ann-1").await, "bulk");
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(client.cache_state("ann", "ann-1").await, "bulk");
    assert_eq!(client.listed_ids("ann").await.len(), 3);
}

#[tokio::test]
async fn the_same_set_results_whichever_way_the_files_are_read() {
    let mut deployment = Deployment::start().await;
    let client = deployment.client.clone();
    client.import(&files("ann", 1500)).await;
    client.import(&files("ben", 700)).await;
    let mut sets = Vec::new();
    for way in ["functions", "export"] {
        deployment.workers.clear();
        let worker = deployment.worker_with(&[("SLUICE_FILES_VIA", way)]);
        deployment.workers.push(worker);
        let answer = client.sync("ann", "allTwo").await;
        assert_eq!(
            answer,
            (
                StatusCode::OK,
                json!({"user": "ann", "synced": 1500, "skipped": 0})
            )
        );
        sets.push(client.list("ann").await.unwrap());
    }
    assert_eq!(sets[0], sets[1]);
}

#[tokio::test]
async fn scores_of_deleted_files_give_way_to_the_next_active_ones() {
    let deployment = Deployment::start_with(&[("SLUICE_MOST_ACTIVE_LIMIT", "3")]).await;
    let client = &deployment.client;
    client.import(&files("ann", 12)).await;
    for n in 0..6 {
        client.cache_state("ann", &format!("ann-{n}")).await;
    }
    deployment.wait_until_ranked("ann", "ann-5").await;
    // The last ones read rank first.
    client
        .delete_from_convex(&["ann-5", "ann-4", "ann-3"])
        .await;
    for _ in 0..2 {
        let answer = client.sync("ann", "mostOne").await;
        assert_eq!(
            answer,
            (
                StatusCode::OK,
                json!({"user": "ann", "synced": 3, "skipped": 0})
            )
        );
        assert_eq!(client.listed_ids("ann").await, ["ann-2", "ann-1", "ann-0"]);
    }
}

#[tokio::test]
async fn active_files_of_the_largest_size_are_synced_and_prefetched() {
    let mut deployment = Deployment::start().await;
    let client = deployment.client.clone();
    let mut documents = files("ann", 20);
    for document in &mut documents {
        document["filenameEnc"] = Value::from("x".repeat(1_000_000));
    }
    for batch in documents.chunks(10) {
        client.import(batch).await;
    }
    for n in 0..20 {
        client.cache_state("ann", &format!("ann-{n}")).await;
    }
    deployment.wait_until_ranked("ann", "ann-19").await;
    for way in ["functions", "export"] {
        deployment.workers.clear();
        let worker = deployment.worker_with(&[("SLUICE_FILES_VIA", way)]);
        deployment.workers.push(worker);
        assert_eq!(
            client.prefetch("ann", 20).await.1,
            json!({"user": "ann", "prefetched": 20})
        );
        let answer = client.sync("ann", "allTwo").await;
        assert_eq!(
            answer,
            (
                StatusCode::OK,
                json!({"user": "ann", "synced": 20, "skipped": 0})
            )
        );
        // Accesses within a second may rank alike.
        let mut listed = client.listed_ids("ann").await;
        listed.sort();
        let mut all: Vec<String> = (0..20).map(|n| format!("ann-{n}")).collect();
        all.sort();
        assert_eq!(listed, all, "{way}");
    }
}
