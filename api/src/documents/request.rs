//! What requests about documents have in common: names, bodies and preconditions.

use axum::body::{Body as RequestBody, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, MatchedPath, Path, Request};
use axum::http::request::Parts;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use sluice_store::documents::{
    Change, Conditions, Expiry, ExpiryTime, Idempotency, Mutation, Version, Write, is_name,
};
use utoipa::ToSchema;

use super::conditions::conditions;
use super::longest_body;
use super::problem::body_too_large;
use crate::auth::{Caller, Scope};
use crate::http::body::{Body, json_text};
use crate::http::query::Params;
use crate::http::submission::{Submission, Target, check_key, digest};
use crate::openapi::schemas;
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
        // Only a listing takes parameters; what another call would drop could have been a
        // condition.
        if names.id.is_some() || !parts.method.is_safe() {
            Params::<NoParams>::from_request_parts(parts, state).await?;
        }
        check_name("service", &names.service)?;
        names
            .id
            .as_deref()
            .map_or(Ok(()), |id| check_name("id", id))?;
        Ok(names)
    }
}

/// The query string of calls that take none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParams {}

/// The rule for names of services and ids.
pub(super) fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    if is_name(name) {
        return Ok(());
    }
    Err(ApiError::InvalidRequest(format!(
        "{field}: must be 1 to 128 of letters, digits, `_`, `-`, `.` and `:`, and neither `.` nor `..`"
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

/// What a writer names, with `docs:write` for the service. Without an id in the path, `id` is
/// empty.
pub(super) struct WriteTarget {
    pub service: String,
    pub id: String,
    /// What the request's headers ask of the document.
    pub conditions: Conditions,
}

/// A request that writes documents.
pub(super) type Writing = Submission<WriteTarget>;

impl Target for WriteTarget {
    async fn of(caller: &Caller, parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let names = Names::from_parts(parts, state).await;
        // Callers who may write nowhere learn nothing about names.
        let service = names.as_ref().map_or("", |names| &names.service);
        caller.require_documents(service)?;
        let Names { service, id } = names?;
        Ok(Self {
            service,
            id: id.unwrap_or_default(),
            conditions: conditions(&parts.headers)?,
        })
    }
}

impl Writing {
    /// The write of this request.
    pub fn write(&self, change: Change, expected: Option<Version>) -> Result<Write, ApiError> {
        let (key, conditions) = (self.idempotency_key.clone(), self.target.conditions.clone());
        Self::write_under(key, change, expected, conditions)
    }

    /// A write under a key of the caller's, if it has one.
    pub fn write_under(
        key: Option<String>,
        change: Change,
        expected_revision: Option<Version>,
        conditions: Conditions,
    ) -> Result<Write, ApiError> {
        let idempotency = key.map(|key| {
            // Two requests are the same when they say the same, however they were written.
            let request = match conditions.is_empty() {
                true => serde_json::to_string(&(&change, expected_revision)),
                false => serde_json::to_string(&(&change, expected_revision, &conditions)),
            };
            let request = request.map_err(|_| ApiError::Internal)?;
            let fingerprint = digest(&[&request]);
            Ok::<_, ApiError>(Idempotency { key, fingerprint })
        });
        Ok(Write {
            idempotency: idempotency.transpose()?,
            change,
            expected_revision,
            conditions,
        })
    }

    /// What the caller calls one write of a batch, distinct from other callers' names.
    pub fn key_of_item(&self, key: &str) -> Result<String, ApiError> {
        let key = check_key("idempotencyKey", key)?;
        let subject = self.subject.as_deref().unwrap_or_default();
        Ok(digest(&["batch", &self.target.service, subject, key]))
    }

    /// The id of a new document. Under one key one id is made, however often.
    pub fn new_id(key: Option<&str>) -> String {
        match key {
            Some(key) => format!("doc_{key}"),
            None => format!("doc_{:032x}", rand::random::<u128>()),
        }
    }
}

/// A [`Body`] that may be as long as documents are.
pub(super) struct DocumentBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for DocumentBody<T> {
    type Rejection = ApiError;

    async fn from_request(mut request: Request, state: &AppState) -> Result<Self, ApiError> {
        let limit = longest_body(state.documents.config());
        DefaultBodyLimit::max(limit).apply(&mut request);
        let text = json_text(request, state).await;
        let text = text.map_err(|error| match error {
            ApiError::BodyTooLarge => body_too_large(limit),
            error => error,
        })?;
        let parse = || Body::parse(&text);
        let Body(body) = state.documents.work(text.len(), parse).await?;
        Ok(Self(body))
    }
}

/// What a write without data may have as its body.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Expectation {
    /// The revision that the document must be at.
    #[serde(default)]
    #[schema(value_type = Option<schemas::Revision>)]
    pub expected_revision: Option<Version>,
}

impl FromRequest<AppState> for Expectation {
    type Rejection = ApiError;

    /// No body, and null, expect nothing.
    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let limit = longest_body(state.documents.config());
        let bytes: Bytes = axum::body::to_bytes(body, limit)
            .await
            .map_err(|_| body_too_large(limit))?;
        if matches!(bytes.trim_ascii(), b"" | b"null") {
            return Ok(Self::default());
        }
        let request = Request::from_parts(parts, RequestBody::from(bytes));
        let DocumentBody(body) = DocumentBody::from_request(request, state).await?;
        Ok(body)
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
    Option::<ExpiryTime>::deserialize(deserializer).map(|at| at.map_or(Expiry::Never, Expiry::At))
}
