//! How much memory the tail's ledger takes, by file:
//! `cargo run --release -p sluice-store --example ledger_memory`.
#![allow(clippy::unwrap_used)]

use sluice_store::tail::{Known, Naming, Settlement, Tail};
use sluice_test_support::TestValkey;
use sluice_valkey::Valkey;

const FILES: usize = 1_000_000;

#[tokio::main]
async fn main() {
    let server = TestValkey::start();
    for (kind, has_id) in [("a UUID as id", true), ("the `_id` as id", false)] {
        redis::cmd("FLUSHALL")
            .arg("SYNC")
            .exec(&mut server.connection())
            .unwrap();
        let before = server.used_memory();
        let tail = Tail::new(&Valkey::at(&server.url()).unwrap());
        let lead = tail.claim("measuring").await.unwrap().unwrap();
        for chunk in 0..FILES / 1000 {
            let settlements: Vec<Settlement> = (chunk * 1000..(chunk + 1) * 1000)
                .map(|n| settlement(n, has_id))
                .collect();
            let namings: Vec<Naming> = settlements.iter().filter_map(naming).collect();
            lead.name(&namings).await.unwrap();
            lead.settle(&settlements, 1, true).await.unwrap();
        }
        let used = server.used_memory() - before;
        println!(
            "{FILES} files with {kind}: {} bytes each",
            used / FILES as u64
        );
    }
}

/// Ids as long as Convex's, users as long as those of common identity providers.
fn settlement(n: usize, has_id: bool) -> Settlement {
    let doc_id = format!(
        "j57{:029x}",
        (n as u128).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C)
    );
    let id = if has_id {
        format!("{:08x}-d9cb-469f-a165-70867728950e", n)
    } else {
        doc_id.clone()
    };
    Settlement {
        doc_id: doc_id.into(),
        ts: 1_800_000_000_000_000_000 + n as i64,
        file: Some(Known {
            user: format!("user_{:027x}", n % 1000).into(),
            id: id.into(),
        }),
        nudges: Vec::new(),
    }
}

fn naming(settlement: &Settlement) -> Option<Naming<'_>> {
    let name = settlement.file.as_ref()?;
    Some(Naming {
        doc_id: &settlement.doc_id,
        name,
        has: true,
    })
}
