//! Pages of documents.

use bytes::Bytes;
use serde::Deserialize;

use super::ConvexError;
use super::call::{Body, Call};
use super::slicer::{RowsAt, SliceError, Slicer};

/// Documents have at most 1 MiB in Convex; as JSON, with every byte escaped, they stay below this.
const MAX_DOCUMENT: usize = 8 << 20;

/// One page being received: gives each document as a raw JSON slice while the body arrives. Holds
/// one document and one network chunk at most.
pub struct RowStream<P> {
    call: Call,
    body: Body,
    slicer: Slicer,
    /// A document was given to the caller, so the page cannot silently begin anew.
    handed_on: bool,
    end: Option<P>,
    kind: Kind,
}

/// What a stream needs to know of the endpoint it reads from.
#[derive(Clone)]
pub(super) struct Kind {
    pub rows_at: RowsAt,
    /// The function called, for errors; empty for the export.
    pub path: String,
}

impl<P: PageEnd> RowStream<P> {
    pub(super) async fn open(mut call: Call, kind: Kind) -> Result<RowStream<P>, ConvexError> {
        let body = call.send().await?;
        let slicer = Slicer::new(kind.rows_at, MAX_DOCUMENT);
        Ok(RowStream {
            call,
            body,
            slicer,
            handed_on: false,
            end: None,
            kind,
        })
    }

    /// The next document. After `None`, [`Self::finish`] tells how to go on.
    ///
    /// A connection that breaks before the first document begins the page anew; one that breaks
    /// later is a retryable error, and it is the caller who asks for the page again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ConvexError> {
        loop {
            match self.advance().await {
                Err(error) if !self.handed_on => self.begin_anew(error).await?,
                result => {
                    self.handed_on |= matches!(result, Ok(Some(_)));
                    return result;
                }
            }
        }
    }

    /// What follows the page. Reads to its end if the caller has not.
    pub async fn finish(mut self) -> Result<P, ConvexError> {
        loop {
            if let Some(end) = self.end.take() {
                return Ok(end);
            }
            self.next().await?;
        }
    }

    /// The whole page, begun anew as often as the connection breaks; for pages that are known to be
    /// small.
    pub async fn page(mut self) -> Result<(Vec<Bytes>, P), ConvexError> {
        let mut rows = Vec::new();
        loop {
            match self.advance().await {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => return Ok((rows, self.finish().await?)),
                Err(error) => {
                    rows.clear();
                    self.begin_anew(error).await?;
                }
            }
        }
    }

    async fn begin_anew(&mut self, error: ConvexError) -> Result<(), ConvexError> {
        self.call.wait_after(error.into()).await?;
        self.body = self.call.send().await?;
        self.slicer = Slicer::new(self.kind.rows_at, MAX_DOCUMENT);
        Ok(())
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, ConvexError> {
        while self.end.is_none() {
            if let Some(row) = self.slicer.next_row()? {
                return Ok(Some(row));
            }
            match self.body.chunk().await? {
                Some(chunk) => self.slicer.feed(chunk),
                None => {
                    let done = Slicer::new(self.kind.rows_at, MAX_DOCUMENT);
                    let envelope = std::mem::replace(&mut self.slicer, done).finish()?;
                    self.end = Some(P::parse(&envelope, &self.kind.path)?);
                }
            }
        }
        Ok(None)
    }
}

impl From<SliceError> for ConvexError {
    fn from(error: SliceError) -> ConvexError {
        match error {
            // Cut short on the way, by a proxy perhaps.
            SliceError::Incomplete => ConvexError::Transport(error.to_string()),
            _ => ConvexError::Malformed(error.to_string()),
        }
    }
}

/// What stands around the documents of a page and tells how to go on.
pub trait PageEnd: Sized {
    /// Reads it from the envelope, in which the array of documents is empty. `path` names the
    /// function, if one was called.
    fn parse(envelope: &[u8], path: &str) -> Result<Self, ConvexError>;
}

/// The end of a `list_snapshot` page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEnd {
    /// The time of the snapshot, ns; the same for all pages of a walk.
    pub snapshot: i64,
    /// Where the next page begins; `None` after the last.
    pub cursor: Option<String>,
}

/// The end of a `document_deltas` page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeltasEnd {
    /// Everything up to this time, ns, has been given.
    pub cursor: i64,
    /// Whether more is known to follow.
    pub has_more: bool,
}

/// The end of a page as Convex's `paginate` returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryEnd {
    /// Where the next page begins; `None` after the last.
    pub cursor: Option<String>,
}

/// The end of a page of what was asked for by name, which may have answered only the first names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredEnd {
    /// How many of the names were looked for, whether anything has them or not.
    pub answered: usize,
}

impl PageEnd for SnapshotEnd {
    fn parse(envelope: &[u8], _path: &str) -> Result<Self, ConvexError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Envelope {
            #[serde(rename = "values")]
            _values: [(); 0],
            snapshot: i64,
            cursor: Option<String>,
            has_more: bool,
        }
        let Envelope {
            snapshot,
            cursor,
            has_more,
            ..
        } = parse(envelope)?;
        if has_more != cursor.is_some() {
            return Err(ConvexError::Malformed(
                "a page has a cursor or is the last".into(),
            ));
        }
        Ok(SnapshotEnd { snapshot, cursor })
    }
}

impl PageEnd for DeltasEnd {
    fn parse(envelope: &[u8], _path: &str) -> Result<Self, ConvexError> {
        parse(envelope)
    }
}

impl PageEnd for QueryEnd {
    fn parse(envelope: &[u8], path: &str) -> Result<Self, ConvexError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            #[serde(rename = "page")]
            _page: [(); 0],
            is_done: bool,
            continue_cursor: String,
        }
        let page: Page = function_value(envelope, path)?;
        Ok(QueryEnd {
            cursor: (!page.is_done).then_some(page.continue_cursor),
        })
    }
}

impl PageEnd for AnsweredEnd {
    fn parse(envelope: &[u8], path: &str) -> Result<Self, ConvexError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(rename = "page")]
            _page: [(); 0],
            /// A Convex number: `3.0`.
            answered: f64,
        }
        let Page { answered, .. } = function_value(envelope, path)?;
        Ok(AnsweredEnd {
            answered: answered as usize,
        })
    }
}

/// The `value` a function returned, or the error it answered with.
pub(super) fn function_value<T: serde::de::DeserializeOwned>(
    body: &[u8],
    path: &str,
) -> Result<T, ConvexError> {
    #[derive(Deserialize)]
    #[serde(
        tag = "status",
        rename_all = "lowercase",
        rename_all_fields = "camelCase"
    )]
    enum Answer<T> {
        Success { value: T },
        Error { error_message: String },
    }
    match parse(body)? {
        Answer::Success { value } => Ok(value),
        Answer::Error { error_message } => Err(ConvexError::from_function(path, error_message)),
    }
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ConvexError> {
    serde_json::from_slice(body).map_err(|error| ConvexError::Malformed(error.to_string()))
}
