//! What is said of one file.
//!
//! A client of the real thing encrypts names and keys before they leave it. Here they only have the
//! right shape: the name is in Base64, the key is derived from the path, and neither is secret.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    id: String,
    filename_enc: String,
    size: u64,
    user: &'a str,
    mime_type: &'a str,
    dek_enc: String,
    thumbs: Thumbs,
    /// Milliseconds since 1970, as Convex's own times.
    uploaded_date: u64,
}

/// Ids of smaller pictures, which only pictures have.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Thumbs {
    mobile: Option<String>,
    web: Option<String>,
    web_pre: Option<String>,
}

/// The record of the file at `path` as JSON, or nothing when the file cannot be looked at.
///
/// Its `id` depends on the user and the path alone, so that importing it again replaces it.
pub fn of_file(user: &str, path: &Path) -> Option<Box<RawValue>> {
    let metadata = fs::metadata(path).ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    let name = path.file_name()?;
    let is_image = mime.type_() == mime_guess::mime::IMAGE;
    let thumb =
        |kind: &str| is_image.then(|| format!("thumb_{}", hex(&digest(kind, user, path)[..12])));
    let record = Record {
        id: format!("file_{}", hex(&digest("id", user, path)[..16])),
        filename_enc: STANDARD.encode(name.as_bytes()),
        size: metadata.len(),
        user,
        mime_type: mime.essence_str(),
        dek_enc: STANDARD.encode(digest("key", user, path)),
        thumbs: Thumbs {
            mobile: thumb("mobile"),
            web: thumb("web"),
            web_pre: thumb("webPre"),
        },
        uploaded_date: u64::try_from(modified.as_millis()).ok()?,
    };
    serde_json::value::to_raw_value(&record).ok()
}

/// 32 bytes that stay the same for the same file of the same user, different for each purpose.
fn digest(purpose: &str, user: &str, path: &Path) -> [u8; 32] {
    Sha256::new()
        .chain_update(purpose)
        .chain_update([0])
        .chain_update(user)
        .chain_update([0])
        .chain_update(path.as_os_str().as_bytes())
        .finalize()
        .into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;

    fn record(user: &str, path: &Path) -> Value {
        serde_json::from_str(of_file(user, path).unwrap().get()).unwrap()
    }

    #[test]
    fn a_record_has_the_fields_that_readers_expect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("häuser.png");
        fs::write(&path, b"12345").unwrap();
        let record = record("usr_a", &path);
        assert_eq!(record["user"], "usr_a");
        assert_eq!(record["size"], 5);
        assert_eq!(record["mimeType"], "image/png");
        let name = STANDARD
            .decode(record["filenameEnc"].as_str().unwrap())
            .unwrap();
        assert_eq!(name, "häuser.png".as_bytes());
        assert!(
            record["thumbs"]["webPre"]
                .as_str()
                .unwrap()
                .starts_with("thumb_")
        );
        assert!(record["uploadedDate"].as_u64().unwrap() > 1_600_000_000_000);
        assert!(record["dekEnc"].is_string());
    }

    #[test]
    fn only_pictures_have_thumbs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        fs::write(&path, b"").unwrap();
        assert_eq!(record("usr_a", &path)["thumbs"]["mobile"], Value::Null);
    }

    #[test]
    fn an_id_is_stable_and_differs_between_users_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&a, b"").unwrap();
        fs::write(&b, b"").unwrap();
        let id = |user, path| record(user, path)["id"].clone();
        let first = id("usr_a", &a);
        fs::write(&a, b"longer now").unwrap();
        assert_eq!(id("usr_a", &a), first);
        assert_ne!(id("usr_b", &a), first);
        assert_ne!(id("usr_a", &b), first);
    }

    #[test]
    fn a_file_that_is_gone_is_left_out() {
        assert!(of_file("usr_a", Path::new("/no/such/file")).is_none());
    }
}
