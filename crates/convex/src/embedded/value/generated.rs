//! Values for property tests, the extremes of every type among them.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{Object, Value};

/// Any value, nested at most five deep.
pub fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        integers().prop_map(Value::Int64),
        floats().prop_map(Value::Float64),
        strings().prop_map(Value::String),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            objects(inner).prop_map(Value::Object),
        ]
    })
}

/// The fields of a document.
pub fn documents() -> impl Strategy<Value = Object> {
    objects(values())
}

fn objects(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Object> {
    prop::collection::btree_map("[a-z.][ -~]{0,8}", inner, 0..6)
}

fn integers() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        prop::sample::select(vec![
            i64::MIN,
            i64::MIN + 1,
            -(1 << 53) - 1,
            -1,
            0,
            1,
            (1 << 53) + 1,
            i64::MAX
        ]),
    ]
}

fn floats() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        prop::sample::select(vec![
            0.0,
            -0.0,
            1.0,
            -1.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            9_007_199_254_740_993.0,
            1e21,
            0.1,
        ]),
    ]
}

/// Text of all planes, quotes and control characters included.
fn strings() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,20}",
        "\\PC{0,12}",
        "[\\x00-\\x1f\"\\\\/\u{7f}\u{2028}\u{e000}\u{1f600}]{0,8}"
    ]
}

/// Equality down to the bits of floats.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float64(a), Value::Float64(b)) => a.to_bits() == b.to_bits(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let alike =
                |((a, x), (b, y)): ((&String, &Value), (&String, &Value))| a == b && same(x, y);
            a.len() == b.len() && a.iter().zip(b).all(alike)
        }
        _ => a == b,
    }
}
