//! How tasks are written: as JSON.

use apalis_core::backend::codec::Codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes tasks as JSON, which is what the queue keeps.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonCodec;

impl<T: Serialize + DeserializeOwned> Codec<T> for JsonCodec {
    type Error = serde_json::Error;
    type Compact = Vec<u8>;

    fn encode(&self, value: &T) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(value)
    }

    fn decode(&self, json: &Vec<u8>) -> Result<T, serde_json::Error> {
        serde_json::from_slice(json)
    }
}
