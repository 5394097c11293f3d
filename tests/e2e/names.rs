//! Several documents with one user and id, which change, move and go while workers are killed.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::harness::file;
use crate::nudges::Nudges;
use crate::tail::{assert_each_told_once, cached, tailing, wait_for_leader};

const USERS: [&str; 2] = ["ann", "ben"];

/// A transaction on some of a few documents with a few ids.
fn transaction(random: &mut StdRng, there: &mut [bool], size: &mut u64) -> Vec<Value> {
    let mut records = Vec::new();
    for _ in 0..random.random_range(1..8) {
        let key = random.random_range(0..there.len());
        if there[key] && random.random_range(0..3) == 0 {
            records.push(json!({ "key": key, "_ab_cdc_deleted_at": "now" }));
            there[key] = false;
        } else {
            *size += 1;
            let user = USERS[random.random_range(0..USERS.len())];
            let mut record = file(user, &format!("f{}", random.random_range(0..6)), *size);
            record["key"] = json!(key);
            records.push(record);
            there[key] = true;
        }
    }
    records
}

#[tokio::test]
async fn a_history_of_shared_ids_with_kills_and_syncs_ends_as_a_fresh_sync_shows_and_as_told() {
    let mut deployment = tailing(&[]).await;
    deployment.add_worker();
    let client = deployment.client.clone();
    for user in USERS {
        client.import(&[file(user, &format!("{user}-0"), 0)]).await;
        client.sync(user, "allOne").await;
    }
    deployment.wait_until_tailed().await;
    let nudges = Nudges::listen(&deployment.valkey).await;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut there, mut size) = ([false; 14], 0);

    for round in 1..=45_u64 {
        let doomed = if round % 20 == 0 {
            Some(wait_for_leader(&deployment).await)
        } else {
            None
        };
        let sync = (round % 7 == 0).then(|| {
            let client = client.clone();
            tokio::spawn(async move { client.sync("ann", "allTwo").await })
        });
        for _ in 0..random.random_range(1..5) {
            let records = transaction(&mut random, &mut there, &mut size);
            client.import_by("key", &records).await;
        }
        if let Some(leader) = doomed {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..40))).await;
            deployment.workers[leader].kill();
            deployment.workers.remove(leader);
            deployment.add_worker();
        }
        if let Some(sync) = sync {
            sync.await.unwrap();
        }
    }
    deployment.wait_until_tailed().await;

    let end = json!({"user": "end"}).to_string();
    let heard = nudges.all().len();
    let mut valkey = deployment.valkey.connection();
    let () = redis::Commands::publish(&mut valkey, "st1:nudges", end).unwrap();
    nudges.wait_for(heard + 1).await;
    let mut told = nudges.all();
    told.retain(|nudge| nudge["user"] != "end");
    assert_each_told_once(&told);
    let mut followed: BTreeMap<[&str; 2], bool> = BTreeMap::new();
    for nudge in &told {
        let of = |field: &str| nudge[field].as_str();
        let id = of("id").unwrap();
        if let Some(former) = of("formerUser") {
            followed.insert([former, id], false);
        }
        followed.insert([of("user").unwrap(), id], nudge["change"] != "deleted");
    }
    for user in USERS {
        let shown = cached(&deployment, user).await;
        client.sync(user, "allOne").await;
        let fresh = cached(&deployment, user).await;
        assert_eq!(shown, fresh, "seed {seed}: {user}");
        let first = format!("{user}-0");
        let mut ids: Vec<&str> = vec![&first];
        let there = followed.iter().filter(|(_, is_there)| **is_there);
        ids.extend(
            there
                .filter(|(name, _)| name[0] == user)
                .map(|(name, _)| name[1]),
        );
        ids.sort_unstable();
        let shown_ids: Vec<&String> = fresh.iter().map(|(id, _)| id).collect();
        assert_eq!(shown_ids, ids, "seed {seed}: {user}");
    }
}
