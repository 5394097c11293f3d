//! Why a content could not be written or read.

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The address is none of a content store.
    #[error("{0}")]
    Address(String),
    /// The folder of the contents cannot be used.
    #[error("the folder of the contents: {0}")]
    Folder(#[from] std::io::Error),
    /// The store did not answer in time, at any attempt.
    #[error("the content store does not answer")]
    TimedOut,
    /// A part is not there, or is shorter than its layout says.
    #[error("a part of the content is missing")]
    Missing,
    /// The store failed.
    #[error("the content store: {0}")]
    Store(object_store::Error),
}

impl ObjectsError {
    /// Whether the same call fails each time.
    pub(crate) fn is_final(&self) -> bool {
        use object_store::Error;
        match self {
            Self::Address(_) | Self::Missing => true,
            Self::Folder(_) | Self::TimedOut => false,
            Self::Store(error) => !matches!(error, Error::Generic { .. } | Error::JoinError { .. }),
        }
    }
}

impl From<object_store::Error> for ObjectsError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::Missing,
            error => Self::Store(error),
        }
    }
}
