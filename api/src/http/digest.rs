//! `Content-Digest` and `Repr-Digest` (RFC 9530): what a body's SHA-256 is said to be.

use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::ApiError;

/// Of the bytes of this message.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
/// Of the whole of which a message may bring a part.
pub(crate) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The SHA-256 that the header names; none when it is not there, or names other digests only.
///
/// # Errors
/// [`ApiError::InvalidRequest`] for what cannot be read: who sends a digest wants it checked.
pub(crate) fn sha256(headers: &HeaderMap, name: &HeaderName) -> Result<Option<[u8; 32]>, ApiError> {
    let mut found = None;
    for line in headers.get_all(name) {
        let digests = line.to_str().ok().and_then(read);
        let digests = digests.ok_or_else(|| {
            ApiError::InvalidRequest(format!(
                "{name}: must be like sha-256=:…:, with 32 bytes in base64 between the colons"
            ))
        })?;
        found = digests.or(found);
    }
    Ok(found)
}

/// A dictionary of byte sequences (RFC 9651, section 3.2), of which only `sha-256` is read.
fn read(line: &str) -> Option<Option<[u8; 32]>> {
    let mut found = None;
    for member in line.split(',') {
        let (algorithm, digest) = member.trim().split_once('=')?;
        if algorithm == "sha-256" {
            // Parameters may follow.
            let digest = digest.split(';').next()?.trim();
            let text = digest.strip_prefix(':')?.strip_suffix(':')?;
            found = Some(STANDARD.decode(text).ok()?.try_into().ok()?);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(lines: &[&str]) -> Result<Option<[u8; 32]>, ApiError> {
        let lines = lines.iter();
        let lines = lines.map(|line| (CONTENT_DIGEST, line.parse().unwrap()));
        sha256(&lines.collect(), &CONTENT_DIGEST)
    }

    #[test]
    fn a_digest_is_read_as_it_was_written() {
        let digest: [u8; 32] = std::array::from_fn(|at| at as u8 * 7);
        let header = format!("sha-256=:{}:", STANDARD.encode(digest));
        let header = &*header;
        assert_eq!(read(&[header]).unwrap(), Some(digest));
        let among_others = format!("sha-512=:AAAA:, {header};a=1");
        assert_eq!(read(&[&among_others]).unwrap(), Some(digest));
        assert_eq!(read(&["sha-512=:AAAA:", header]).unwrap(), Some(digest));
    }

    #[test]
    fn without_a_sha_256_there_is_nothing_to_check() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&["sha-512=:AAAA:"]).unwrap(), None);
    }

    #[test]
    fn a_digest_that_cannot_be_read_is_refused() {
        for line in [
            "",
            "sha-256",
            "sha-256=",
            "sha-256=AAAA",
            "sha-256=::",
            "sha-256=:AAAA:",
            "sha-256=:not base64:",
        ] {
            assert!(read(&[line]).is_err(), "{line}");
        }
    }
}
