//! Random calls against the plainest model of documents.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Number, Value, json};
use sluice_store::documents::{Change, Changes, DocumentError, Expiry, Mutation, Write};

use super::support::{Store, object, parse, write};

/// What a caller sees of a document.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    revision: u64,
    data: Value,
    deleted: bool,
}

/// All documents, with every revision they had.
#[derive(Default)]
struct Model(BTreeMap<String, Vec<Seen>>);

impl Model {
    fn current(&self, id: &str) -> Option<&Seen> {
        self.0.get(id)?.last()
    }

    fn write(&mut self, id: &str, write: &Write) -> Result<Seen, &'static str> {
        let mut next = match (self.current(id), &write.change) {
            (None, Change::Create(..)) => Seen {
                revision: 0,
                data: Value::Null,
                deleted: false,
            },
            (Some(_), Change::Create(..)) => return Err("exists"),
            (None, _) => return Err("missing"),
            (Some(seen), Change::Restore) if !seen.deleted => return Err("not deleted"),
            (Some(seen), change) if seen.deleted && *change != Change::Restore => {
                return Err("missing");
            }
            (Some(seen), _) => seen.clone(),
        };
        if write
            .expected_revision
            .is_some_and(|it| it.revision != next.revision)
        {
            return Err("conflict");
        }
        match &write.change {
            Change::Create(data, _) | Change::Replace(data, _) => next.data = data.clone().into(),
            Change::Merge(patch, _) => next.data = merged(next.data, patch.clone().into()),
            Change::Mutate(mutations, _) => {
                for mutation in mutations {
                    mutate(&mut next.data, mutation).ok_or("mutation")?;
                }
            }
            Change::Delete => next.deleted = true,
            Change::Restore => next.deleted = false,
        }
        next.revision += 1;
        self.0.entry(id.to_owned()).or_default().push(next.clone());
        Ok(next)
    }
}

/// RFC 7396, section 2, word for word.
fn merged(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch;
    };
    let mut target = match target {
        Value::Object(target) => target,
        _ => serde_json::Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            let old = target.remove(&name).unwrap_or_default();
            target.insert(name, merged(old, value));
        }
    }
    target.into()
}

fn mutate(root: &mut Value, mutation: &Mutation) -> Option<()> {
    match mutation {
        Mutation::Set { path, value } => match root.pointer_mut(path) {
            Some(place) if !path.is_empty() || value.is_object() => *place = value.clone(),
            Some(_) => return None,
            None => {
                let (parent, name) = parent(root, path)?;
                parent.as_object_mut()?.insert(name, value.clone());
            }
        },
        Mutation::Increment { path, value } => {
            let place = root.pointer_mut(path)?;
            let Value::Number(number) = &*place else {
                return None;
            };
            *place = match (number.as_i64(), value.as_i64()) {
                (Some(a), Some(b)) => a.checked_add(b)?.into(),
                _ => Number::from_f64(number.as_f64()? + value.as_f64()?)?.into(),
            };
        }
        Mutation::Unset { path } => drop(taken(root, path)?),
        Mutation::Append { path, value } => {
            root.pointer_mut(path)?.as_array_mut()?.push(value.clone());
        }
        Mutation::Insert { path, value } => {
            parent(root, path)?.0.as_array()?;
            added(root, path, value.clone())?;
        }
        Mutation::Toggle { path } => {
            let place = root.pointer_mut(path)?;
            *place = (!place.as_bool()?).into();
        }
        Mutation::Merge { path, value } => {
            let place = root.pointer_mut(path)?;
            place.as_object()?;
            *place = merged(place.clone(), value.clone().into());
        }
        Mutation::Test { path, value } => {
            (root.pointer(path)? == value).then_some(())?;
        }
        Mutation::Move { from, path } => {
            if path.starts_with(&format!("{from}/")) {
                return None;
            }
            if from == path {
                return root.pointer(from).map(|_| ());
            }
            let value = taken(root, from)?;
            added(root, path, value)?;
        }
        Mutation::Copy { from, path } => {
            let value = root.pointer(from)?.clone();
            added(root, path, value)?;
        }
    }
    Some(())
}

fn parent<'a>(root: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (parent, name) = path.rsplit_once('/')?;
    let name = name.replace("~1", "/").replace("~0", "~");
    Some((root.pointer_mut(parent)?, name))
}

fn taken(root: &mut Value, path: &str) -> Option<Value> {
    root.pointer(path)?;
    match parent(root, path)? {
        (Value::Object(fields), name) => fields.remove(&name),
        (Value::Array(items), name) => Some(items.remove(name.parse().ok()?)),
        _ => None,
    }
}

fn added(root: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        value.as_object()?;
        *root = value;
        return Some(());
    }
    match parent(root, path)? {
        (Value::Object(fields), name) => drop(fields.insert(name, value)),
        (Value::Array(items), name) if name == "-" => items.push(value),
        (Value::Array(items), name) => {
            let at = name.parse().ok().filter(|&at| at <= items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn values() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(1.5),
        json!("é\n"),
        json!([]),
        json!([1, [2], {"b": 3}]),
        json!({}),
        json!({"b": {"c": null, "a": 1}}),
    ])
}

fn data() -> impl Strategy<Value = serde_json::Map<String, Value>> {
    prop::collection::btree_map(select(vec!["a", "b", "a/b"]), values(), 0..4)
        .prop_map(|fields| object(json!(fields)))
}

fn paths() -> impl Strategy<Value = String> {
    let all = [
        "", "/a", "/b", "/a~1b", "/a/0", "/a/1", "/a/-", "/a/b", "/a/b/c", "/b/a", "/b/2/b", "/x/y",
    ];
    select(all.map(str::to_owned).to_vec())
}

fn mutations() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        3 => (paths(), values()).prop_map(|(path, value)| Mutation::Set { path, value }),
        2 => (paths(), select(vec![json!(1), json!(-1), json!(i64::MAX), json!(0.25)])).prop_map(
            |(path, value)| Mutation::Increment { path, value: serde_json::from_value(value).unwrap() }
        ),
        1 => paths().prop_map(|path| Mutation::Unset { path }),
        1 => (paths(), values()).prop_map(|(path, value)| Mutation::Append { path, value }),
        1 => (paths(), values()).prop_map(|(path, value)| Mutation::Insert { path, value }),
        1 => paths().prop_map(|path| Mutation::Toggle { path }),
        1 => (paths(), data()).prop_map(|(path, value)| Mutation::Merge { path, value }),
        1 => (paths(), values()).prop_map(|(path, value)| Mutation::Test { path, value }),
        1 => (paths(), paths()).prop_map(|(from, path)| Mutation::Move { from, path }),
        1 => (paths(), paths()).prop_map(|(from, path)| Mutation::Copy { from, path }),
    ]
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => data().prop_map(|data| Change::Create(data, Expiry::Keep)),
        2 => data().prop_map(|data| Change::Replace(data, Expiry::Keep)),
        2 => data().prop_map(|patch| Change::Merge(patch, Expiry::Keep)),
        8 => prop::collection::vec(mutations(), 1..4)
            .prop_map(|mutations| Change::Mutate(mutations, Expiry::Keep)),
        1 => Just(Change::Delete),
        2 => Just(Change::Restore),
    ]
}

/// A call: which of two documents, what to do, and how far off the expected revision is, if any is
/// given.
fn calls() -> impl Strategy<Value = Vec<(bool, Change, Option<u64>)>> {
    let call = (
        any::<bool>(),
        changes(),
        select(vec![None, None, Some(0), Some(1)]),
    );
    prop::collection::vec(call, 1..30)
}

fn kind(error: &DocumentError) -> &'static str {
    match error {
        DocumentError::NotFound => "missing",
        DocumentError::AlreadyExists => "exists",
        DocumentError::NotDeleted => "not deleted",
        DocumentError::RevisionConflict { .. } => "conflict",
        DocumentError::Mutation { .. } => "mutation",
        _ => "unexpected",
    }
}

fn seen(document: &sluice_store::documents::Document) -> Seen {
    let envelope = parse(document);
    Seen {
        revision: document.revision,
        data: envelope["data"].clone(),
        deleted: envelope["deleted"] == true,
    }
}

async fn run(store: &Store, calls: Vec<(bool, Change, Option<u64>)>) {
    let case: u64 = rand::random();
    let (service, mut model) = (format!("s{case:x}"), Model::default());
    for (first, change, off) in calls {
        let id = if first { "a" } else { "b" };
        let current = model.current(id).map_or(0, |it| it.revision);
        let call = Write {
            expected_revision: off.map(|off| (current + off).into()),
            ..write(change)
        };
        let expected = model.write(id, &call);
        let made = store.documents.write(&service, id, &call).await;
        let made = made.as_ref().map(seen).map_err(kind);
        assert_eq!(made, expected, "{call:?}");
        let read = store.documents.get(&service, id).await;
        let read = read.as_ref().ok().map(seen);
        assert_eq!(read.as_ref(), model.current(id).filter(|it| !it.deleted));
    }
    for (id, history) in &model.0 {
        let mut told = Vec::new();
        while told.len() < history.len() {
            let after = Some((told.len() as u64).into());
            match store.documents.changes(&service, id, after).await.unwrap() {
                Changes::Since(documents) => told.extend(documents.iter().map(seen)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(&told, history);
    }
    let listed = store.documents.list(&service, None, 10).await.unwrap();
    let there = model
        .0
        .values()
        .filter(|it| it.last().is_some_and(|it| !it.deleted));
    assert_eq!(listed.documents.len(), there.count());
}

#[test]
fn any_sequence_of_calls_does_what_the_model_does() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(async { Store::start() });
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&calls(), |calls| {
            runtime.block_on(run(&store, calls));
            Ok(())
        })
        .unwrap();
}
