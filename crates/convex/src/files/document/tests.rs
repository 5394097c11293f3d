#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const METADATA: [&str; 4] = ["_component", "_table", "_ts", "_deleted"];

fn read(text: &str) -> Result<Document, ConvexError> {
    Document::read(Bytes::copy_from_slice(text.as_bytes()))
}

fn file(text: &str) -> File {
    read(text).unwrap().file().unwrap().unwrap()
}

fn text() -> impl Strategy<Value = String> {
    prop::string::string_regex(r#"([a-zA-Z0-9+/=]{1,40}|["\\{}\[\],:\n\t/ é€𝄞]{1,8}){1,3}"#)
        .unwrap()
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map(text(), inner, 0..3)
                .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// Members of an exported document in any order; `id` is absent, a string, or something that cannot
/// be an id.
fn members() -> impl Strategy<Value = Vec<(String, Value)>> {
    let id = prop_oneof![
        Just(None),
        text().prop_map(|id| Some(json!(id))),
        Just(Some(json!(""))),
        Just(Some(json!(7)))
    ];
    let metadata = prop::sample::subsequence(METADATA.to_vec(), 0..=4);
    let others = prop::collection::hash_map(text(), any_value(), 0..4);
    (
        id,
        metadata,
        others,
        text(),
        any::<u32>().prop_map(|quarters| f64::from(quarters) / 4.0),
    )
        .prop_map(|(id, metadata, others, user, created)| {
            let mut members: Vec<(String, Value)> = others.into_iter().collect();
            members
                .retain(|(name, _)| !METADATA.contains(&&**name) && name != "id" && name != "user");
            members.extend(id.map(|id| ("id".into(), id)));
            members.extend(
                metadata
                    .into_iter()
                    .map(|name| (name.into(), json!("m,\"}"))),
            );
            members.push(("_id".into(), json!("j57000820c20a1g7104gm2rc1m70ynr8")));
            members.push(("_creationTime".into(), json!(created)));
            members.push(("user".into(), json!(user)));
            members
        })
        .prop_shuffle()
}

/// Prints with `space` wherever JSON allows some; with `escape`, every character of a string as
/// `\u`.
fn print(members: &[(String, Value)], space: &str, escape: bool) -> String {
    let string = |text: &str| {
        if !escape {
            return json!(text).to_string();
        }
        let units: String = text
            .encode_utf16()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect();
        format!("\"{units}\"")
    };
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), string);
            format!("{space}{}{space}:{space}{value}{space}", string(name))
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

proptest! {
    #[test]
    fn a_file_is_what_serde_sees_without_metadata_and_with_an_id(
        members in members(),
        space in prop::sample::select(vec!["", " ", "\r\n\t "]),
        escape: bool,
    ) {
        let file = file(&print(&members, space, escape));

        let mut expected: Map<String, Value> = members.into_iter().collect();
        expected.retain(|name, _| !METADATA.contains(&&**name));
        let id = expected.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let id = id.unwrap_or("j57000820c20a1g7104gm2rc1m70ynr8").to_owned();
        expected.insert("id".into(), json!(id));

        prop_assert_eq!(&*file.id, id);
        prop_assert_eq!(&*file.doc_id, expected["_id"].as_str().unwrap());
        prop_assert_eq!(&*file.user, expected["user"].as_str().unwrap());
        prop_assert_eq!(file.created, expected["_creationTime"].as_f64().unwrap());
        let json: Map<String, Value> = serde_json::from_slice(&file.json).unwrap();
        prop_assert_eq!(json, expected);
    }

    #[test]
    fn no_text_makes_it_panic(
        text in prop::string::string_regex(r#"\{?[{}\[\]",:\\ 1aé]{0,40}\}?"#).unwrap(),
    ) {
        if let Ok(document) = read(&text) {
            let _ = document.file();
            let _ = document.change();
        }
    }
}

#[test]
fn a_clean_document_is_passed_on_without_a_copy() {
    let raw = Bytes::from_static(br#"{"_creationTime":1.5,"_id":"d1","id":"f1","user":"u"}"#);
    let file = Document::read(raw.clone())
        .unwrap()
        .file()
        .unwrap()
        .unwrap();
    assert_eq!(file.json.as_ptr(), raw.as_ptr());
}

#[test]
fn metadata_is_cut_and_the_id_put_in_front() {
    let file = file(
        r#"{"_component":"","_creationTime":1.5,"_id":"d1","_table":"files","id":null,"user":"u"}"#,
    );
    assert_eq!(
        &file.json[..],
        br#"{"id":"d1","_creationTime":1.5,"_id":"d1","user":"u"}"#
    );
}

#[test]
fn a_document_without_an_owner_is_no_file_and_its_delta_a_removal() {
    for user in ["", r#","user":null"#, r#","user":"""#, r#","user":7"#] {
        let document = read(&format!(
            r#"{{"_id":"d1","_creationTime":1,"_ts":5{user}}}"#
        ))
        .unwrap();
        assert_eq!(document.file().unwrap(), None, "{user}");
        assert_eq!(document.change().unwrap().file, None, "{user}");
    }
}

#[test]
fn a_tombstone_is_a_removal() {
    let document =
        read(r#"{"_id":"d1","_ts":1800000000000000001,"_deleted":true,"_table":"files"}"#).unwrap();
    let removal = FileChange {
        ts: 1_800_000_000_000_000_001,
        doc_id: "d1".into(),
        file: None,
    };
    assert_eq!(document.change().unwrap(), removal);
}

#[test]
fn documents_that_are_not_whole_objects_are_malformed() {
    for text in [
        "",
        "[]",
        "{",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{"a":1"#,
        r#"{"a":"\"}"#,
        "{}x",
        r#"{"a":[1}"#,
        r#"{1:2}"#,
    ] {
        assert!(
            matches!(read(text), Err(ConvexError::Malformed(_))),
            "{text}"
        );
    }
    for text in [
        r#"{"user":"u","_creationTime":1}"#,
        r#"{"user":"u","_id":"d1"}"#,
    ] {
        assert!(
            matches!(read(text).unwrap().file(), Err(ConvexError::Malformed(_))),
            "{text}"
        );
    }
    assert!(matches!(
        Document::read(Bytes::from_static(b"{\"a\":\"\xff\"}")),
        Err(ConvexError::Malformed(_))
    ));
}
