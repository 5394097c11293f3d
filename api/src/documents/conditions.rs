//! The conditions of requests about documents: entity tags are versions.

use axum::http::HeaderMap;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use sluice_store::documents::{self, Conditions, Version};

use crate::ApiError;
use crate::http::conditions::{Tag, Tags, tags};

/// The conditions of a request.
///
/// # Errors
/// As [`tags`].
pub(super) fn conditions(headers: &HeaderMap) -> Result<Conditions, ApiError> {
    let if_match = tags(headers, IF_MATCH, |tag| {
        // Compared strongly, so that a weak tag matches nothing. A revision alone is taken as in
        // `expectedRevision`.
        (!tag.is_weak).then(|| version(tag))?
    })?;
    let if_none_match = tags(headers, IF_NONE_MATCH, |tag| {
        // Compared weakly. A revision alone could be that of a former document: who sends it gets
        // the whole answer.
        version(tag).filter(|it| it.created_at.is_some())
    })?;
    Ok(Conditions {
        if_match: if_match.map(kept),
        if_none_match: if_none_match.map(kept),
    })
}

/// What a tag names; tags are compared by their characters, and these are all that a document ever
/// has.
fn version(tag: Tag) -> Option<Version> {
    std::str::from_utf8(tag.opaque).ok()?.parse().ok()
}

fn kept(tags: Tags<Version>) -> documents::Tags {
    match tags {
        Tags::Any => documents::Tags::Any,
        Tags::Of(versions) => documents::Tags::Of(versions),
    }
}
