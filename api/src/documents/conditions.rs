//! `If-Match` and `If-None-Match` (RFC 9110, section 13.1), as they come with requests about
//! documents.

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName};
use sluice_store::documents::{Conditions, Tags, Version};

use crate::ApiError;

/// The conditions of a request.
///
/// # Errors
/// [`ApiError::InvalidRequest`] for a header that is no list of entity tags: it must not count as
/// none.
pub(super) fn conditions(headers: &HeaderMap) -> Result<Conditions, ApiError> {
    let if_match = tags(headers, IF_MATCH, |tag| {
        // Compared strongly, so that a weak tag matches nothing. A revision alone is taken as in
        // `expectedRevision`.
        (!tag.is_weak).then(|| tag.version())?
    })?;
    let if_none_match = tags(headers, IF_NONE_MATCH, |tag| {
        // Compared weakly. A revision alone could be that of a former document: who sends it gets
        // the whole answer.
        tag.version().filter(|it| it.created_at.is_some())
    })?;
    Ok(Conditions {
        if_match,
        if_none_match,
    })
}

fn tags(
    headers: &HeaderMap,
    name: HeaderName,
    version: impl Fn(Tag) -> Option<Version>,
) -> Result<Option<Tags>, ApiError> {
    if !headers.contains_key(&name) {
        return Ok(None);
    }
    let lines: Vec<&[u8]> = headers
        .get_all(&name)
        .iter()
        .map(|it| it.as_bytes())
        .collect();
    let list = lines.join(&b","[..]);
    if list.trim_ascii() == b"*" {
        return Ok(Some(Tags::Any));
    }
    match read(&list) {
        Some(tags) => Ok(Some(Tags::Of(
            tags.into_iter().filter_map(version).collect(),
        ))),
        None => Err(ApiError::InvalidRequest(format!(
            "{name}: must be *, or one `ETag` or more with commas between"
        ))),
    }
}

/// An entity tag, which is any bytes between quotes.
struct Tag<'a> {
    is_weak: bool,
    opaque: &'a [u8],
}

impl Tag<'_> {
    /// What it names; tags are compared by their characters, and these are all that a document ever
    /// has.
    fn version(&self) -> Option<Version> {
        std::str::from_utf8(self.opaque).ok()?.parse().ok()
    }
}

/// A list of at least one tag. As the RFC asks, it may have empty elements.
fn read(list: &[u8]) -> Option<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    let mut rest = list.trim_ascii_start();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
            continue;
        }
        let (is_weak, quoted) = match rest.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let quoted = quoted.strip_prefix(b"\"")?;
        let end = quoted.iter().position(|&byte| byte == b'"')?;
        let opaque = &quoted[..end];
        if !opaque.iter().all(|&byte| byte > b' ' && byte != 0x7f) {
            return None;
        }
        tags.push(Tag { is_weak, opaque });
        rest = quoted[end + 1..].trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return None;
        }
    }
    Some(tags).filter(|tags| !tags.is_empty())
}
