//! What calls about contents of files share: their path, and what they can be refused or fail with.

use sluice_jobs::filesync::{TransferError, Transfers};
use utoipa::IntoParams;

use super::problem::Code;
use crate::openapi::schemas;
use crate::{ApiError, AppState};

/// The path to a file.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
pub(super) struct FilePath {
    /// The file's id.
    #[param(value_type = schemas::NodeId)]
    file_id: String,
}

/// How contents get in and out.
pub(super) fn transfers(state: &AppState) -> Result<&Transfers, ApiError> {
    state.transfers.as_ref().ok_or_else(|| {
        Code::NoContents.error("contents of files are not kept here: SLUICE_OBJECTS_URL is not set")
    })
}

impl From<TransferError> for ApiError {
    fn from(error: TransferError) -> Self {
        let code = match error {
            TransferError::Filesync(error) => return error.into(),
            TransferError::Objects(error) => {
                tracing::warn!(%error, "the content store failed");
                return ApiError::Unavailable("the content store");
            }
            TransferError::Task(error) => {
                tracing::error!(%error, "a transfer failed");
                return ApiError::Internal;
            }
            TransferError::TooLarge(_) => Code::TooLarge,
            TransferError::Busy => Code::TooManyUploads,
            TransferError::Cut(_) | TransferError::Digest | TransferError::Length => {
                Code::SyncDigest
            }
        };
        code.error(error)
    }
}
