//! What requests about documents have in common: names, bodies and preconditions.

use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Path, Request};
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use sluice_store::documents::{
    Change, DocumentError, Expiry, Idempotency, Mutation, Write, is_name,
};

use super::answer::etag;
use crate::auth::{Caller, Scope};
use crate::body::Body;
use crate::call::{check_key, digest, idempotency_key, traceparent};
use crate::prefer::Prefer;
use crate::{ApiError, AppState};

/// The address of batches, which is also that of the document `batch`.
pub(super) const BATCH: &str = "/api/sync/{service}/documents/batch";
/// The address of WebSockets, which is also that of the document `ws`.
pub(super) const WS: &str = "/api/sync/{service}/documents/ws";

#[derive(Deserialize)]
pub(super) struct Names {
    pub service: String,
    id: Option<String>,
}

impl Names {
    pub async fn from_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Path(mut names) = Path::<Self>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError::InvalidRequest(rejection.body_text()))?;
        let path = parts.extensions.get::<MatchedPath>();
        match path.map(MatchedPath::as_str) {
            Some(BATCH) => names.id = Some("batch".to_owned()),
            Some(WS) => names.id = Some("ws".to_owned()),
            _ => {}
        }
        check_name("service", &names.service)?;
        names
            .id
            .as_deref()
            .map_or(Ok(()), |id| check_name("id", id))?;
        Ok(names)
    }
}

/// The rule for names of services and ids.
pub(super) fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    if is_name(name) {
        return Ok(());
    }
    Err(ApiError::InvalidRequest(format!(
        "{field}: must be 1 to 128 of letters, digits, `_`, `-`, `.` and `:`"
    )))
}

/// What a reader names, with `docs:read`. Without an id in the path, `id` is empty.
pub(super) struct Reading {
    pub service: String,
    pub id: String,
    /// Who reads.
    pub caller: Caller,
}

impl FromRequestParts<AppState> for Reading {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.require(Scope::DocsRead)?;
        let Names { service, id } = Names::from_parts(parts, state).await?;
        let id = id.unwrap_or_default();
        Ok(Self {
            service,
            id,
            caller,
        })
    }
}

/// What a writer names, with `docs:write` for the service. Without an id in the path, `id` is empty.
pub(super) struct Writing {
    pub service: String,
    pub id: String,
    /// The revision that `If-Match` asks for.
    pub if_match: Option<u64>,
    /// What the caller calls this write, told from other callers' and addresses' names.
    pub idempotency_key: Option<String>,
    /// Whether the caller would wait for a job, and how long.
    pub prefer: Prefer,
    /// Whom the token belongs to.
    pub subject: Option<String>,
    /// The trace that a job goes on with.
    pub trace: Option<String>,
}

impl FromRequestParts<AppState> for Writing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let names = Names::from_parts(parts, state).await;
        // Callers who may write nowhere learn nothing about names.
        let service = names.as_ref().map_or("", |names| &names.service);
        caller.require_documents(service)?;
        let Names { service, id } = names?;
        let idempotency_key = idempotency_key(&parts.headers)?.map(|key| {
            let subject = caller.subject().unwrap_or_default();
            digest(&[parts.method.as_str(), parts.uri.path(), subject, key])
        });
        Ok(Self {
            idempotency_key,
            service,
            id: id.unwrap_or_default(),
            if_match: if_match(&parts.headers)?,
            prefer: Prefer::from_headers(&parts.headers),
            subject: caller.subject().map(str::to_owned),
            trace: traceparent(&parts.headers),
        })
    }
}

impl Writing {
    /// The write of this request.
    pub fn write(&self, change: Change, expected: Option<u64>) -> Result<Write, ApiError> {
        let expected_revision = agreed(expected, self.if_match)?;
        Self::write_under(self.idempotency_key.clone(), change, expected_revision)
    }

    /// A write under a key of the caller's, if it has one.
    pub fn write_under(
        key: Option<String>,
        change: Change,
        expected_revision: Option<u64>,
    ) -> Result<Write, ApiError> {
        let idempotency = key.map(|key| {
            // Two requests are the same when they say the same, however they were written.
            let request = serde_json::to_string(&(&change, expected_revision))
                .map_err(|_| ApiError::Internal)?;
            let fingerprint = digest(&[&request]);
            Ok::<_, ApiError>(Idempotency { key, fingerprint })
        });
        Ok(Write {
            idempotency: idempotency.transpose()?,
            change,
            expected_revision,
        })
    }

    /// What the caller calls one write of a batch, told from other callers' names.
    pub fn key_of_item(&self, key: &str) -> Result<String, ApiError> {
        let key = check_key("idempotencyKey", key)?;
        let subject = self.subject.as_deref().unwrap_or_default();
        Ok(digest(&["batch", &self.service, subject, key]))
    }

    /// The id of a new document. Under one key one id is made, however often.
    pub fn new_id(key: Option<&str>) -> String {
        match key {
            Some(key) => format!("doc_{key}"),
            None => format!("doc_{:032x}", rand::random::<u128>()),
        }
    }

    /// A refused write, told by the means by which the caller named the revision.
    pub fn refusal(&self, error: ApiError) -> ApiError {
        match error {
            ApiError::Document(DocumentError::RevisionConflict { expected, current })
                if self.if_match.is_some() =>
            {
                ApiError::PreconditionFailed { expected, current }
            }
            error => error,
        }
    }
}

/// The expected revision, which the body and `If-Match` may both name.
fn agreed(body: Option<u64>, header: Option<u64>) -> Result<Option<u64>, ApiError> {
    match (body, header) {
        (Some(body), Some(header)) if body != header => Err(ApiError::InvalidRequest(
            "expectedRevision: differs from If-Match".to_owned(),
        )),
        _ => Ok(body.or(header)),
    }
}

/// A [`Body`] that may be as long as documents are.
pub(super) struct DocumentBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for DocumentBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        match Body::from_request(request, state).await {
            Ok(Body(body)) => Ok(Self(body)),
            Err(ApiError::BodyTooLarge) => {
                let limit = state.documents.config().max_bytes;
                Err(ApiError::Document(DocumentError::TooLarge { limit }))
            }
            Err(error) => Err(error),
        }
    }
}

/// For `deserialize_with`: at least one mutation.
pub(super) fn some_mutations<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Mutation>, D::Error> {
    let mutations = Vec::deserialize(deserializer)?;
    if mutations.is_empty() {
        return Err(D::Error::custom("must hold at least one mutation"));
    }
    Ok(mutations)
}

/// For `deserialize_with`: a time, null for never, or left out to keep what is.
pub(super) fn expiry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Expiry, D::Error> {
    Option::<u64>::deserialize(deserializer).map(|at| at.map_or(Expiry::Never, Expiry::At))
}

/// Whether the caller has this revision, as `If-None-Match` says.
pub(super) fn is_known(headers: &HeaderMap, revision: u64) -> bool {
    tags(headers, IF_NONE_MATCH).any(|tag| {
        // Weak comparison (RFC 9110, section 13.1.2).
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag(revision)
    })
}

/// The one revision that `If-Match` allows a write to be made on.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    if headers.contains_key(IF_NONE_MATCH) {
        return Err(ApiError::InvalidRequest(
            "if-none-match: only reads take it; no write but a create makes a document".to_owned(),
        ));
    }
    let mut tags = tags(headers, IF_MATCH);
    let (first, more) = (tags.next(), tags.next());
    match (first, more) {
        (None | Some("*"), None) => Ok(None),
        (Some(tag), None) => revision(tag).map(Some),
        _ => revision("").map(Some),
    }
}

fn revision(tag: &str) -> Result<u64, ApiError> {
    tag.strip_prefix('"')
        .and_then(|tag| tag.strip_suffix('"'))
        .and_then(|tag| tag.parse().ok())
        .ok_or_else(|| {
            ApiError::InvalidRequest(
                "if-match: must be one `ETag` of the document, or *".to_owned(),
            )
        })
}

fn tags(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}
