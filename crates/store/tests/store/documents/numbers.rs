//! Numbers and other values come back as they were.

use serde_json::{Value, from_str, json};

use super::support::{Store, replace};

#[tokio::test]
async fn every_float_comes_back_as_the_very_same() {
    let store = Store::start();
    let mut floats = vec![
        0.0,
        -0.0,
        1.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        0.1 + 0.2,
    ];
    // Those of which RedisJSON reads no digits rightly, and others.
    floats.extend([
        0.464_361_972_248_976_35,
        0.985_087_378_828_909_5,
        3.454_705_870_884_287_4e50,
    ]);
    floats.extend(
        (0..10_000)
            .map(|_| f64::from_bits(rand::random()))
            .filter(|it| it.is_finite()),
    );
    floats.extend((0..10_000).map(|_| rand::random::<f64>()));
    store
        .create("a", json!({"nested": [{"it's \n": floats}]}))
        .await;
    for _ in 0..2 {
        let data = store.data("a").await;
        let back = data["nested"][0]["it's \n"].as_array().unwrap();
        assert_eq!(back.len(), floats.len());
        for (back, float) in back.iter().zip(&floats) {
            let back = back.as_f64().unwrap();
            assert_eq!(
                back.to_bits(),
                float.to_bits(),
                "{float:e} came back as {back:e}"
            );
        }
        // A write computed from what was read keeps them too.
        let change = sluice_store::documents::Change::Merge(
            super::support::object(json!({"other": 1})),
            sluice_store::documents::Expiry::Keep,
        );
        store.change("a", change).await.unwrap();
    }
}

#[tokio::test]
async fn values_of_every_kind_come_back_as_they_were() {
    let store = Store::start();
    let text = r#"{"":null,"i":[0,-0.0,1.0,9223372036854775807,-9223372036854775808,18446744073709551615],
        "e":[[],{},"",[[]],[{}]],"u":"é\u0000\u001f\ud83d\ude00\"\\\/\u2028","k/~\"'\\.$[]":{"\n":true},"日本":false}"#;
    let data: Value = from_str(text).unwrap();
    store.create("a", json!({})).await;
    store.change("a", replace(data.clone())).await.unwrap();
    assert_eq!(store.data("a").await, data);
    assert_eq!(store.data("a").await.to_string(), data.to_string());
}
