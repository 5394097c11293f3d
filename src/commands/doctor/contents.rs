//! The content store's check.

use super::{CHECK_LIMIT, Findings};
use crate::failure::chain;
use crate::settings::ObjectSettings;

const MEND: &str = "check objects_url, and the keys and the region that the cloud's tools take";

/// Whether bytes can be written, read and deleted.
pub(super) async fn check(findings: &mut Findings, settings: &ObjectSettings) {
    let objects = match settings.open() {
        Ok(Some(objects)) => objects,
        Ok(None) => {
            return findings.ok("contents", "none is set: files cannot be uploaded");
        }
        Err(failure) => return findings.fail("contents", &failure.to_string(), MEND),
    };
    match tokio::time::timeout(CHECK_LIMIT, objects.check()).await {
        Ok(Ok(())) => findings.ok("contents", "bytes were written, read and deleted"),
        Ok(Err(error)) => findings.fail("contents", &chain(&error), MEND),
        Err(_) => findings.fail("contents", "no answer within 10 s", MEND),
    }
}
