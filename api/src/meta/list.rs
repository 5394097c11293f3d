//! `GET /api/v1/meta`: what is cached of one user, a page at a time, without the keys to the files.

use std::fmt;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use sluice_store::cache::{ListCursor, ListPage, ListPhase};
use utoipa::IntoParams;

use super::reader::reader;
use crate::answers::EntryPage;
use crate::auth::Caller;
use crate::http::pages::{Cursor, page_limit};
use crate::http::query::Params;
use crate::openapi::{ReadErrors, schemas};
use crate::{ApiError, AppState};

/// The field that listings leave out: the file's encrypted key.
const HIDDEN_FIELD: &str = "dekEnc";

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Whose entries; the token's subject when left out. Anybody else's need `meta:read`.
    #[param(value_type = Option<schemas::UserId>, nullable = false)]
    user_id: Option<String>,
    /// The `cursor` of the page before; left out for the first page.
    #[param(value_type = Option<schemas::EntriesCursor>, nullable = false)]
    cursor: Option<String>,
    /// Entries on a page, 1 to 1000; 100 when left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// List a user's cached entries
///
/// Entries come without their `dekEnc`. When a sync replaces the listed set, its cursors expire
/// with 409 `cursor_expired`.
#[utoipa::path(
    get,
    path = "/api/v1/meta",
    operation_id = "listEntries",
    tag = "meta",
    params(ListParams),
    responses((status = 200, description = "One page", body = EntryPage), ReadErrors),
    security(("token" = []), ("token" = ["meta:read"])),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Result<Response, ApiError> {
    let user = reader(&caller, params.user_id)?;
    let limit = page_limit(params.limit.as_deref())?;
    let cursor = params.cursor.as_deref().map(Cursor::read).transpose()?;
    let page = state.cache.list(&user, cursor.map(place), limit).await?;
    let body = write_page(&page).map_err(|error| {
        // The error is named by its kind alone, for its text could quote the entry.
        tracing::error!(kind = ?error.classify(), "a cached entry is not a JSON object");
        ApiError::Internal
    })?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn place(Cursor([phase, epoch, generation, position]): Cursor<4>) -> ListCursor {
    ListCursor {
        phase: match phase {
            0 => ListPhase::Live,
            _ => ListPhase::Single,
        },
        epoch,
        generation,
        position,
    }
}

fn cursor(place: ListCursor) -> Cursor<4> {
    let phase = match place.phase {
        ListPhase::Live => 0,
        ListPhase::Single => 1,
    };
    Cursor([phase, place.epoch, place.generation, place.position])
}

/// Writes the page straight from the cached bytes: entries are not parsed into values and printed
/// again.
fn write_page(page: &ListPage) -> serde_json::Result<Vec<u8>> {
    let bytes: usize = page.entries.iter().map(|entry| entry.len() + 1).sum();
    let mut body = Vec::with_capacity(bytes + 256);
    body.extend_from_slice(b"{\"entries\":[");
    for (index, entry) in page.entries.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write_without(&mut body, entry, HIDDEN_FIELD)?;
    }
    body.extend_from_slice(b"],\"cursor\":");
    let next = page.cursor.map(|place| cursor(place).to_string());
    serde_json::to_writer(&mut body, &next)?;
    let (total, generation) = (page.total, page.generation);
    body.extend_from_slice(format!(",\"total\":{total},\"generation\":{generation}}}").as_bytes());
    Ok(body)
}

/// Appends the JSON object `object` less its top-level field `hidden`. Everything else keeps its
/// order and its exact text.
fn write_without(out: &mut Vec<u8>, object: &[u8], hidden: &str) -> serde_json::Result<()> {
    let Fields(fields) = serde_json::from_slice(object)?;
    let mut separator = b'{';
    for (name, value) in fields {
        if is_named(name, hidden)? {
            continue;
        }
        out.push(separator);
        out.extend_from_slice(name.get().as_bytes());
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
        separator = b',';
    }
    if separator == b'{' {
        out.push(separator);
    }
    out.push(b'}');
    Ok(())
}

/// Whether a JSON string literal means `name`, also when it is written with escapes.
fn is_named(literal: &RawValue, name: &str) -> serde_json::Result<bool> {
    let literal = literal.get();
    if literal.contains('\\') {
        return Ok(serde_json::from_str::<String>(literal)? == name);
    }
    Ok(literal.trim_matches('"') == name)
}

/// The fields of an object in their order, as slices of its text.
struct Fields<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn without_key(object: &str) -> String {
        let mut out = Vec::new();
        write_without(&mut out, object.as_bytes(), HIDDEN_FIELD).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_key_is_left_out_wherever_it_stands() {
        assert_eq!(without_key(r#"{"dekEnc":"k","id":"a"}"#), r#"{"id":"a"}"#);
        assert_eq!(
            without_key(r#"{"id":"a","dekEnc":{"x":[1]}}"#),
            r#"{"id":"a"}"#
        );
        assert_eq!(
            without_key(r#"{"a":1,"dekEnc":null,"b":2}"#),
            r#"{"a":1,"b":2}"#
        );
        assert_eq!(without_key(r#"{"dekEnc":"k"}"#), "{}");
        assert_eq!(without_key("{}"), "{}");
    }

    #[test]
    fn a_key_written_with_escapes_is_left_out_too() {
        assert_eq!(
            without_key(r#"{"dek\u0045nc":"k","id":"a"}"#),
            r#"{"id":"a"}"#
        );
    }

    #[test]
    fn every_one_of_repeated_keys_is_left_out() {
        assert_eq!(
            without_key(r#"{"dekEnc":1,"id":"a","dekEnc":2}"#),
            r#"{"id":"a"}"#
        );
    }

    #[test]
    fn a_nested_field_of_that_name_stays() {
        let object = r#"{"thumbs":{"dekEnc":1}}"#;
        assert_eq!(without_key(object), object);
    }

    #[test]
    fn other_fields_keep_their_exact_text() {
        let object = r#"{"b":1.50,"a":1e400,"\"dekEnc\"":"\u00e9é","n":12345678901234567890123}"#;
        assert_eq!(without_key(object), object);
    }

    #[test]
    fn what_is_not_an_object_is_an_error_and_not_shown() {
        for text in ["[]", "\"dekEnc\"", "{\"a\":1", ""] {
            assert!(write_without(&mut Vec::new(), text.as_bytes(), HIDDEN_FIELD).is_err());
        }
    }

    #[test]
    fn a_page_is_one_json_document() {
        let page = ListPage {
            entries: vec![r#"{"id":"a","dekEnc":"k"}"#.into(), r#"{"id":"b"}"#.into()],
            cursor: Some(place(Cursor([1, 2, 3, 4]))),
            total: 7,
            generation: 3,
        };
        let body = String::from_utf8(write_page(&page).unwrap()).unwrap();
        assert_eq!(
            body,
            concat!(
                r#"{"entries":[{"id":"a"},{"id":"b"}],"#,
                r#""cursor":"AQAAAAAAAAABAAAAAAAAAAIAAAAAAAAAAwAAAAAAAAAE","#,
                r#""total":7,"generation":3}"#
            )
        );
    }
}
