//! What the descriptions of the documents' calls share: the parameters of paths and headers.

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use crate::openapi::schemas;

/// The path to a service's documents.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
pub(crate) struct ServicePath {
    /// The service they belong to.
    #[param(value_type = schemas::Name)]
    service: String,
}

/// The path to a document.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
pub(crate) struct DocumentPath {
    /// The service it belongs to.
    #[param(value_type = schemas::Name)]
    service: String,
    /// Its id.
    #[param(value_type = schemas::Name)]
    id: String,
}

/// The header that makes a write a job.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header, which is read by name")]
pub(crate) struct PreferHeader {
    /// `respond-async`: the write becomes a job, and the answer is 202 at once. `wait=N`: where a
    /// job is waited for, wait at most N seconds. (RFC 7240)
    #[param(rename = "Prefer", nullable = false, example = "respond-async")]
    prefer: Option<String>,
}

/// The header that keeps a write from being made twice.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header, which is read by name")]
struct IdempotencyHeader {
    /// 1 to 255 printable characters. For 24 hours, the same key with the same request gets the
    /// first one's answer.
    #[param(rename = "Idempotency-Key", value_type = Option<schemas::IdempotencyHeader>, nullable = false)]
    idempotency_key: Option<String>,
}

/// The header that names a revision.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header, which is read by name")]
struct IfMatchHeader {
    /// The `ETag` that the document must have, or several with commas between, or `*`; otherwise
    /// the answer is 412.
    #[param(rename = "If-Match", value_type = Option<schemas::Precondition>, nullable = false, example = "\"7-1795289394786\"")]
    if_match: Option<String>,
}

/// All that a create takes beside its body.
pub(crate) struct CreateParams;

/// All that a write to a document takes beside its body.
pub(crate) struct WriteParams;

impl IntoParams for CreateParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        [
            ServicePath::into_params(|| None),
            IdempotencyHeader::into_params(|| None),
            PreferHeader::into_params(|| None),
        ]
        .concat()
    }
}

impl IntoParams for WriteParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        [
            DocumentPath::into_params(|| None),
            IfMatchHeader::into_params(|| None),
            IdempotencyHeader::into_params(|| None),
            PreferHeader::into_params(|| None),
        ]
        .concat()
    }
}
