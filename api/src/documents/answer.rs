//! How a document is answered: its envelope as it is, and its revision as the entity tag.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use sluice_store::documents::Document;

pub(super) fn answer(status: StatusCode, document: Document) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (ETAG, etag(document.revision)),
    ];
    (status, headers, document.json).into_response()
}

/// A strong entity tag: every write makes another revision.
pub(super) fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}
