//! What must hold of a document for a request about it (RFC 9110, section 13).

use serde::{Deserialize, Serialize};

use super::{DocumentError, Version};

/// The entity tags of a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tags {
    /// `*`: any state, so long as there is a document.
    Any,
    /// One of these states. Tags that name none of any document are left out.
    Of(Vec<Version>),
}

impl Tags {
    fn matches(&self, current: Option<Version>) -> bool {
        match self {
            Tags::Any => current.is_some(),
            Tags::Of(versions) => {
                current.is_some_and(|current| versions.iter().any(|it| it.names(current)))
            }
        }
    }
}

/// The conditions of a request; without any, all holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conditions {
    /// The document must be in one of these states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Tags>,
    /// The document must be in none of these states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_none_match: Option<Tags>,
}

impl Conditions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Conditions::default()
    }

    /// Whether the caller has this state already, by `If-None-Match`.
    pub fn is_known(&self, current: Version) -> bool {
        let known = self.if_none_match.as_ref();
        known.is_some_and(|tags| tags.matches(Some(current)))
    }

    /// Whether `If-Match` holds for the document as it is; none when it is not there.
    ///
    /// # Errors
    /// [`DocumentError::ConditionFailed`].
    pub fn check_match(&self, current: Option<Version>) -> Result<(), DocumentError> {
        match &self.if_match {
            Some(tags) if !tags.matches(current) => Err(DocumentError::ConditionFailed {
                expected: match tags {
                    Tags::Of(versions) => versions.first().map(|it| it.revision),
                    Tags::Any => None,
                },
                current: current.map(|it| it.revision),
            }),
            _ => Ok(()),
        }
    }

    /// Whether a write may be made to the document as it is.
    ///
    /// # Errors
    /// [`DocumentError::ConditionFailed`].
    pub fn check(&self, current: Option<Version>) -> Result<(), DocumentError> {
        self.check_match(current)?;
        if current.is_some_and(|current| self.is_known(current)) {
            return Err(DocumentError::ConditionFailed {
                expected: None,
                current: current.map(|it| it.revision),
            });
        }
        Ok(())
    }
}
