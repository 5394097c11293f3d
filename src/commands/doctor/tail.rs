//! The tail's check.

use std::time::{Duration, UNIX_EPOCH};

use sluice_store::tail::{Tail, TailState};
use sluice_valkey::Valkey;

use super::{CHECK_LIMIT, Findings};
use crate::failure::chain;

/// Whether changes in Convex are followed.
pub(super) async fn check(findings: &mut Findings, valkey: &Valkey) {
    let tail = Tail::new(valkey);
    let status = match tokio::time::timeout(CHECK_LIMIT, tail.status()).await {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            return findings.fail("tail", &chain(&error), "see docs/tail.md");
        }
        Err(_) => return findings.fail("tail", "no answer within 10 s", "check Valkey"),
    };
    let until = status
        .settled_until_ms()
        .map(|ms| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)));
    let until = until.map_or_else(
        || "no change yet".to_owned(),
        |until| format!("changes until {until}"),
    );
    let worker = status.worker.as_deref().unwrap_or("nobody");
    let lag = status.health.as_ref().map_or(0.0, |health| health.lag_secs);
    match status.state() {
        TailState::Ok => findings.ok("tail", &format!("{worker} has taken in {until}")),
        TailState::Loading => findings.ok(
            "tail",
            &format!("{worker} walks over all files before it follows their changes"),
        ),
        TailState::Behind => findings.warn(
            "tail",
            &format!("{worker} is {lag:.0} s behind, with {until}"),
            "wait, or see docs/tail.md",
        ),
        TailState::Failing => {
            let trouble = status.health.and_then(|health| health.trouble);
            findings.fail(
                "tail",
                &format!(
                    "changes in Convex are not seen: {}",
                    trouble.unwrap_or_default()
                ),
                "check SLUICE_CONVEX_KEY and SLUICE_CONVEX_URL of the workers",
            );
        }
        TailState::Unattended => findings.warn(
            "tail",
            "no worker follows the changes in Convex",
            "start `sluice work`, and check that not all of them have SLUICE_TAIL=off",
        ),
    }
}
