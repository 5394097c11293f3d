//! The streaming import.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rows::parse;
use super::{Client, ConvexError, MAX_ANSWER, body};

impl Client {
    /// Inserts each record, or replaces the document with the same values in the fields of
    /// `primary_key` (which must be indexed, see [`Self::add_primary_key_index`]). With a non-null
    /// field `_ab_cdc_deleted_at` that document is deleted instead; a record that matches none is
    /// inserted even so. Keep a call below 20 MiB, and below 16,000 records for it to be atomic.
    pub async fn import_records(
        &self,
        table: &str,
        primary_key: &[&str],
        records: &[impl Serialize],
    ) -> Result<(), ConvexError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Message<'a, R> {
            table_name: &'a str,
            data: &'a R,
        }
        #[derive(Serialize)]
        struct Import<'a, R> {
            tables: Value,
            messages: Vec<Message<'a, R>>,
        }
        let import = Import {
            tables: json!({ table: { "primaryKey": field_paths(primary_key), "jsonSchema": {} } }),
            messages: records
                .iter()
                .map(|data| Message {
                    table_name: table,
                    data,
                })
                .collect(),
        };
        self.command(
            "streaming_import/import_airbyte_records",
            Method::POST,
            &import,
        )
        .await
    }

    /// Has the table indexed by these top-level fields, for [`Self::import_records`]. An index by
    /// other fields that an earlier call made is replaced. [`Self::primary_key_index_ready`] tells
    /// when it can be used.
    pub async fn add_primary_key_index(
        &self,
        table: &str,
        fields: &[&str],
    ) -> Result<(), ConvexError> {
        let request = json!({ "indexes": { table: field_paths(fields) } });
        self.command(
            "streaming_import/add_primary_key_indexes",
            Method::PUT,
            &request,
        )
        .await
    }

    /// Whether the table's primary key index is built. Refused (`MissingIndex`) when it has none.
    pub async fn primary_key_index_ready(&self, table: &str) -> Result<bool, ConvexError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Ready {
            indexes_ready: bool,
        }
        // A GET with a body: Convex reads the names from there only.
        let request = body(&json!({ "tables": [table] }))?;
        let call = self.call(
            "streaming_import/primary_key_indexes_ready",
            Method::GET,
            Some(request),
        );
        let Ready { indexes_ready } = parse(&call.send_whole(MAX_ANSWER).await?)?;
        Ok(indexes_ready)
    }

    /// Empties tables, all at once. Leaves no tombstones in the deltas.
    pub async fn clear_tables(&self, tables: &[&str]) -> Result<(), ConvexError> {
        self.command(
            "streaming_import/clear_tables",
            Method::PUT,
            &json!({ "tableNames": tables }),
        )
        .await
    }

    async fn command(
        &self,
        endpoint: &'static str,
        method: Method,
        request: &impl Serialize,
    ) -> Result<(), ConvexError> {
        self.call(endpoint, method, Some(body(request)?))
            .send_whole(MAX_ANSWER)
            .await
            .map(drop)
    }
}

fn field_paths(fields: &[&str]) -> Vec<[String; 1]> {
    fields.iter().map(|&field| [field.to_owned()]).collect()
}
