//! Admission to a staging set against the plainest model of its rule.

use std::collections::HashSet;

use proptest::prelude::*;
use sluice_store::cache::{Overflow, Pushed};

use super::support::{AS_OF, Store, entry_of_size};

const LIMIT: u64 = 1_000;

/// What admission by the rule comes to: the totals and the ids admitted, in order.
fn model(pushes: &[Vec<(u8, usize)>]) -> (Pushed, Vec<String>) {
    let mut totals = Pushed::default();
    let (mut known, mut admitted) = (HashSet::new(), Vec::new());
    for &(id, size) in pushes.iter().flatten() {
        if !known.insert(id) {
            continue;
        }
        if totals.bytes + size as u64 <= LIMIT {
            totals.bytes += size as u64;
            totals.entries += 1;
            admitted.push(format!("{id:03}"));
        } else {
            totals.skipped += 1;
        }
    }
    (totals, admitted)
}

#[test]
fn pushes_admit_and_skip_as_the_rule_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(async { Store::with_limit(LIMIT) });
    let pushes =
        prop::collection::vec(prop::collection::vec((0..20_u8, 4..400_usize), 0..12), 0..6);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&pushes, |pushes| {
            let (expected, admitted) = model(&pushes);
            runtime.block_on(async {
                let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
                for push in &pushes {
                    let entries: Vec<_> = push
                        .iter()
                        .map(|&(id, size)| entry_of_size(&format!("{id:03}"), size))
                        .collect();
                    staging.push(&entries).await.unwrap();
                }
                prop_assert_eq!(staging.totals(), expected);
                let committed = staging.commit("allTwo", AS_OF).await.unwrap();
                prop_assert_eq!(committed.bytes, expected.bytes);
                for id in 0..20 {
                    let id = format!("{id:03}");
                    let there = store.look("u", &id).await.is_some();
                    prop_assert_eq!(there, admitted.contains(&id));
                }
                let listed = store.list_all("u", 7).await.len();
                prop_assert_eq!(listed, admitted.len());
                Ok(())
            })
        })
        .unwrap();
}
