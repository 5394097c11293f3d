//! `GET /api/sync/{service}/documents`

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sluice_store::documents::Places;
use utoipa::IntoParams;

use super::params::ServicePath;
use super::request::Reading;
use crate::answers::DocumentPage;
use crate::http::pages::{Cursor, page_limit};
use crate::http::query::Params;
use crate::openapi::{DocumentErrors, schemas};
use crate::{ApiError, AppState};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// The `cursor` of the page before; left out for the first page.
    #[param(value_type = Option<schemas::DocumentsCursor>, nullable = false)]
    cursor: Option<String>,
    /// Documents on a page, 1 to 1000; 100 when left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// List a service's documents
///
/// In the order of their creation, without deleted ones. Cursors do not expire: a document that is
/// there all along is on exactly one page, and new ones come last. A page ends early, even empty,
/// when its documents are large or many ids led nowhere; the last page is the one without a cursor.
#[utoipa::path(
    get,
    path = "/api/sync/{service}/documents",
    operation_id = "listDocuments",
    tag = "documents",
    params(ServicePath, ListParams),
    responses((status = 200, description = "One page", body = DocumentPage), DocumentErrors),
    security(("token" = ["docs:read"])),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Reading { service, .. }: Reading,
    Params(params): Params<ListParams>,
) -> Result<Response, ApiError> {
    let limit = page_limit(params.limit.as_deref())?;
    let cursor = params.cursor.as_deref().map(Cursor::read).transpose()?;
    let places = cursor.map(|Cursor(places)| Places(places));
    let page = state.documents.list(&service, places, limit).await?;
    let documents: Vec<&str> = page.documents.iter().map(|it| it.json.as_str()).collect();
    let cursor = match page.cursor {
        Some(Places(places)) => format!("\"{}\"", Cursor(places)),
        None => "null".to_owned(),
    };
    let body = format!(
        r#"{{"documents":[{}],"cursor":{cursor}}}"#,
        documents.join(",")
    );
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}
