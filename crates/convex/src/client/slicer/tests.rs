#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const LIMIT: usize = 1 << 20;

/// Feeds `body` in pieces that end at the `cuts`; gives the documents and the envelope.
fn slice(
    rows_at: RowsAt,
    body: &[u8],
    cuts: &[usize],
    limit: usize,
) -> (Vec<Bytes>, Result<Vec<u8>, SliceError>) {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
    ends.push(body.len());
    ends.sort_unstable();
    let mut slicer = Slicer::new(rows_at, limit);
    let mut rows = Vec::new();
    let mut start = 0;
    for end in ends {
        slicer.feed(Bytes::copy_from_slice(&body[start..end]));
        start = end;
        loop {
            match slicer.next_row() {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => break,
                Err(error) => return (rows, Err(error)),
            }
        }
    }
    (rows, slicer.finish())
}

fn error(rows_at: RowsAt, body: &str) -> SliceError {
    slice(rows_at, body.as_bytes(), &[], LIMIT).1.unwrap_err()
}

/// Strings full of what could be taken for structure.
fn text() -> impl Strategy<Value = String> {
    prop::string::string_regex(r#"([a-zA-Z0-9+/=]{0,40}|["\\{}\[\],:\n\t/ é€𝄞\x01]{0,8}){0,3}"#)
        .unwrap()
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|quarters| json!(f64::from(quarters) / 4.0)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner).prop_map(Value::from),
        ]
    })
}

fn object(
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let name = prop_oneof![
        text(),
        Just("values".into()),
        Just("page".into()),
        Just("value".into())
    ];
    prop::collection::hash_map(name, value, 0..4).prop_map(|map| map.into_iter().collect())
}

fn documents() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(object(any_value()).prop_map(Value::from), 0..6)
}

fn print(value: &Value, pretty: bool) -> Vec<u8> {
    if pretty {
        serde_json::to_vec_pretty(value)
    } else {
        serde_json::to_vec(value)
    }
    .unwrap()
}

fn parsed(rows: &[Bytes]) -> Vec<Value> {
    rows.iter()
        .map(|row| serde_json::from_slice(row).unwrap())
        .collect()
}

proptest! {
    #[test]
    fn documents_and_envelope_are_those_serde_sees(
        documents in documents(),
        before in any_value(),
        after in any_value(),
        paged: bool,
        pretty: bool,
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        // Maps are printed in the order of their keys: "a" comes before the documents, "z" behind.
        let page = |documents: &[Value]| if paged {
            let value = json!({ "a": after, "page": documents, "z": before });
            json!({ "a": before, "value": value, "z": after })
        } else {
            json!({ "a": before, "values": documents, "z": after })
        };
        let rows_at = if paged { RowsAt::Page } else { RowsAt::Values };
        let (rows, envelope) = slice(rows_at, &print(&page(&documents), pretty), &cuts, LIMIT);
        prop_assert_eq!(parsed(&rows), documents);
        let envelope: Value = serde_json::from_slice(&envelope.unwrap()).unwrap();
        prop_assert_eq!(envelope, page(&[]));
    }

    #[test]
    fn a_body_cut_short_is_noticed_and_gives_only_whole_documents(
        documents in documents(),
        end: usize,
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let body = print(&json!({ "values": documents, "z": true }), false);
        let (rows, envelope) = slice(RowsAt::Values, &body[..end % body.len()], &cuts, LIMIT);
        prop_assert_eq!(envelope, Err(SliceError::Incomplete));
        prop_assert_eq!(parsed(&rows), &documents[..rows.len()]);
    }

    #[test]
    fn no_bytes_make_it_panic(
        noise in prop::string::string_regex(r#"[{}\[\]",:\\ 1a]{0,60}"#).unwrap(),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        for start in ["", r#"{"values":["#, r#"{"value":{"page":[{"#] {
            let body = format!("{start}{noise}");
            let _ = slice(RowsAt::Values, body.as_bytes(), &cuts, 40);
            let _ = slice(RowsAt::Page, body.as_bytes(), &cuts, 40);
        }
    }
}

#[test]
fn a_document_within_one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(br#"{"values":[{"a":1},{"b":"x"}]}"#);
    let mut slicer = Slicer::new(RowsAt::Values, LIMIT);
    slicer.feed(chunk.clone());
    let row = slicer.next_row().unwrap().unwrap();
    assert_eq!(row.as_ptr(), chunk[11..].as_ptr());
}

#[test]
fn what_is_no_page_of_documents_is_malformed() {
    for body in [
        r#"{"values":[1]}"#,
        r#"{"values":[{}{}]}"#,
        r#"{"values":[{},]}"#,
        r#"{"values":[,{}]}"#,
        r#"{"values":[{"a":[}]]}"#,
        r#"{"values":[{]}"#,
        r#"{"values":[{}}"#,
        r#"{"a":[}"#,
    ] {
        assert!(
            matches!(error(RowsAt::Values, body), SliceError::Malformed(_)),
            "{body}"
        );
    }
    let deep = format!(r#"{{"values":[{{"a":{}"#, "[".repeat(200));
    assert_eq!(
        error(RowsAt::Values, &deep),
        SliceError::Malformed("nested too deeply")
    );
    assert_eq!(error(RowsAt::Values, ""), SliceError::Incomplete);
}

#[test]
fn a_document_over_the_limit_is_an_error_before_it_is_all_held() {
    let body = format!(r#"{{"values":[{{"a":"{}"}}]}}"#, "x".repeat(100));
    let exact = body.len() - r#"{"values":[]}"#.len();
    for cuts in [vec![], vec![20, 40], vec![60]] {
        assert!(
            slice(RowsAt::Values, body.as_bytes(), &cuts, exact)
                .1
                .is_ok()
        );
        let (rows, result) = slice(RowsAt::Values, body.as_bytes(), &cuts, exact - 1);
        assert_eq!(
            (rows.len(), result),
            (0, Err(SliceError::TooLarge(exact - 1)))
        );
    }
    let endless = format!(r#"{{"values":[{{"a":"{}"#, "x".repeat(100));
    assert_eq!(
        slice(RowsAt::Values, endless.as_bytes(), &[50], 64).1,
        Err(SliceError::TooLarge(64))
    );
    let envelope = format!(r#"{{"logLines":["{}"]}}"#, "x".repeat(100));
    assert_eq!(
        slice(RowsAt::Page, envelope.as_bytes(), &[], 64).1,
        Err(SliceError::TooLarge(64))
    );
}

/// Prints how fast pages of 1.5 KB documents are cut, beside serde_json finding the same slices in
/// a body held whole: `cargo test --release -p sluice-convex throughput -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn throughput() {
    #[derive(serde::Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        values: Vec<&'a serde_json::value::RawValue>,
    }
    let measure = |what: &str, body: &Bytes, run: &dyn Fn() -> usize| {
        let seconds = (0..5).map(|_| {
            let started = std::time::Instant::now();
            std::hint::black_box(run());
            started.elapsed().as_secs_f64()
        });
        let best = seconds.fold(f64::INFINITY, f64::min);
        println!("{what}: {:.0} MB/s", body.len() as f64 / best / 1e6);
    };
    for (kind, encrypted) in [("long strings", 1100), ("short strings", 40)] {
        let document = |n: usize| {
            json!({
                "_component": "", "_table": "files", "_ts": 1_700_000_000_000_000_000u64,
                "_id": "j57000820c20a1g7104gm2rc1m70ynr8", "_creationTime": 1.7e12,
                "id": format!("file-{n}"), "user": "usr_demo1", "size": n,
                "filenameEnc": "A+/b".repeat(encrypted / 4), "dekEnc": "Zm9v".repeat(encrypted / 8),
                "mimeType": "image/jpeg", "uploadedDate": 1.7e12,
                "thumbs": { "mobile": "m", "web": "w", "webPre": "p" },
            })
        };
        let documents: Vec<_> = (0..30_000).map(document).collect();
        let body = Bytes::from(json!({ "values": documents, "hasMore": false }).to_string());
        measure(&format!("{kind}, slicer"), &body, &|| {
            let mut slicer = Slicer::new(RowsAt::Values, LIMIT);
            let mut rows = 0;
            for start in (0..body.len()).step_by(64 << 10) {
                slicer.feed(body.slice(start..body.len().min(start + (64 << 10))));
                while slicer.next_row().unwrap().is_some() {
                    rows += 1;
                }
            }
            rows
        });
        measure(&format!("{kind}, serde_json RawValue"), &body, &|| {
            serde_json::from_slice::<Page>(&body).unwrap().values.len()
        });
    }
}
