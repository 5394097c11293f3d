//! Conditional requests: entity tags, `If-Match` and `If-None-Match` (RFC 9110, section 13.1).
//!
//! The typed headers of `axum-extra` compare one tag with the list and do not give the list out,
//! which writes that wait in a queue are kept with.

use std::fmt::Display;

use axum::http::{HeaderMap, HeaderName};

use super::error::ApiError;

/// An entity tag, which is any bytes between quotes.
#[derive(Clone, Copy)]
pub(crate) struct Tag<'a> {
    /// Whether it is marked as one that names no exact bytes.
    pub is_weak: bool,
    /// What is between the quotes.
    pub opaque: &'a [u8],
}

/// The tags of a condition.
pub(crate) enum Tags<T> {
    /// `*`: any state, so long as there is one.
    Any,
    /// One of these.
    Of(Vec<T>),
}

/// The strong entity tag of that name.
pub(crate) fn etag(name: impl Display) -> String {
    format!("\"{name}\"")
}

/// The tags of a condition of the request, each as what it names; those that name nothing are left
/// out.
///
/// # Errors
/// [`ApiError::InvalidRequest`] for a header that is no list of entity tags: it must not count as
/// none.
pub(crate) fn tags<T>(
    headers: &HeaderMap,
    name: HeaderName,
    named: impl Fn(Tag) -> Option<T>,
) -> Result<Option<Tags<T>>, ApiError> {
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
        Some(tags) => Ok(Some(Tags::Of(tags.into_iter().filter_map(named).collect()))),
        None => Err(ApiError::InvalidRequest(format!(
            "{name}: must be *, or one `ETag` or more with commas between"
        ))),
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
