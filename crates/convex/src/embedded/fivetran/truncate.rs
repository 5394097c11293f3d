//! Deleting the rows that were not seen again since a time.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::{DELETED, METADATA};
use crate::embedded::catalog::{Index, ROOT};
use crate::embedded::document::Draft;
use crate::embedded::error::RequestError;
use crate::embedded::index_key::{end_of, prefix};
use crate::embedded::transaction::{Current, Transaction};
use crate::embedded::value::{Object, Value};

/// By the time of the last sync; with soft deletion, again after whether it is deleted.
const SYNCED: &str = "_fivetran_by_synced";
const LAST_SYNCED: [&str; 2] = [METADATA, "synced"];
/// Documents that one transaction deletes.
const TRUNCATED_AT_ONCE: usize = 4096;

/// The body of `fivetran_truncate_table`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::embedded) struct TruncateBody {
    pub table_name: String,
    #[serde(default, deserialize_with = "timestamp")]
    delete_before: Option<f64>,
    delete_type: DeleteType,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
enum DeleteType {
    SoftDelete,
    HardDelete,
}

/// Reads an RFC 3339 time into whole ms since the epoch.
fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let text: Option<String> = Deserialize::deserialize(deserializer)?;
    let time = text.map(|text| chrono::DateTime::parse_from_rfc3339(&text));
    let time = time.transpose().map_err(D::Error::custom)?;
    Ok(time.map(|time| time.timestamp_millis() as f64))
}

impl TruncateBody {
    /// Whether all there is goes, so that the table can be cleared as a whole.
    pub fn is_everything(&self) -> bool {
        self.delete_before.is_none() && self.delete_type == DeleteType::HardDelete
    }

    /// Deletes some of the rows that were synced before the given time, after `place` in the index.
    /// Returns where to go on, unless there are no more.
    ///
    /// Errors: 400 `MissingFivetranSyncedIndex`, `WrongFieldsInFivetranSyncedIndex` or
    /// `IndexBackfillingError`.
    pub fn apply(
        &self,
        table: &str,
        place: Option<&[u8]>,
        transaction: &mut Transaction,
    ) -> Result<Option<Vec<u8>>, RequestError> {
        let tablet = transaction.catalog().table(ROOT, table).cloned();
        let index = tablet.as_ref().and_then(|tablet| tablet.index(SYNCED));
        let (Some(tablet), Some(index)) = (&tablet, index) else {
            return Err(RequestError::bad_request(
                "MissingFivetranSyncedIndex",
                format!(
                    "The table {table:?} has no index {SYNCED}: it was not created by fivetran_create_table."
                ),
            ));
        };
        index.check_ready(table)?;
        let (start, end) = self.range(table, index)?;
        let start = place.map_or(start, end_of);
        let found = transaction.page(tablet.id, &start, &end, TRUNCATED_AT_ONCE)?;
        for (_, current) in &found {
            match self.delete_type {
                DeleteType::HardDelete => transaction.delete(tablet.id, current),
                DeleteType::SoftDelete => {
                    let marked = Draft::new(marked_deleted(current))?;
                    transaction.replace(tablet.id, current, &marked);
                }
            }
        }
        let full = found.len() == TRUNCATED_AT_ONCE;
        Ok(found
            .into_iter()
            .next_back()
            .filter(|_| full)
            .map(|(key, _)| key))
    }

    /// The part of the index that holds the rows that are not softly deleted and were synced before
    /// the given time.
    fn range(&self, table: &str, index: &Index) -> Result<(Vec<u8>, Vec<u8>), RequestError> {
        let fields: Vec<Vec<&str>> = index
            .fields
            .iter()
            .map(|path| path.iter().map(String::as_str).collect())
            .collect();
        let of_kind = match fields.as_slice() {
            [synced] if *synced == LAST_SYNCED => prefix(index.id, []),
            [deleted, synced] if *deleted == DELETED && *synced == LAST_SYNCED => {
                prefix(index.id, [Some(&Value::Bool(false))])
            }
            _ => {
                return Err(RequestError::bad_request(
                    "WrongFieldsInFivetranSyncedIndex",
                    format!(
                        "The index {SYNCED} of the table {table:?} has other fields than fivetran.synced, with or without fivetran.deleted before it."
                    ),
                ));
            }
        };
        let end = match self.delete_before {
            None => end_of(&of_kind),
            Some(time) => {
                let mut end = of_kind.clone();
                end.extend_from_slice(&prefix(0, [Some(&Value::Float64(time))])[4..]);
                end
            }
        };
        Ok((of_kind, end))
    }
}

fn marked_deleted(current: &Current) -> Object {
    let mark = Object::from([(DELETED[1].to_owned(), Value::Bool(true))]);
    let mut fields = current.own_fields();
    match fields.get_mut(METADATA) {
        Some(Value::Object(known)) => known.extend(mark),
        _ => {
            fields.insert(METADATA.to_owned(), Value::Object(mark));
        }
    }
    fields
}
