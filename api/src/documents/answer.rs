//! How a document is answered: its envelope as it is, and its version as the entity tag. Every
//! write makes another revision, and every document of an id has another time of creation.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use sluice_store::documents::Document;

use crate::http::conditions::etag;

pub(super) fn answer(status: StatusCode, document: Document) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (ETAG, etag(document.version())),
    ];
    (status, headers, document.json).into_response()
}
