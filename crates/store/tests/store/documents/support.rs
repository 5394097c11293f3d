//! One Valkey with the JSON module and its documents, for a test.

use redis::Commands;
use serde_json::{Value, json};
use sluice_store::documents::{
    Change, Data, Document, DocumentError, Documents, DocumentsConfig, Expiry, Write,
};
use sluice_test_support::TestValkey;
use sluice_valkey::Valkey;

pub struct Store {
    pub server: TestValkey,
    pub documents: Documents,
}

impl Store {
    pub fn start() -> Store {
        Store::with(DocumentsConfig::default())
    }

    pub fn with(config: DocumentsConfig) -> Store {
        let server = TestValkey::start_with_json();
        let documents = Documents::new(&Valkey::at(&server.url()).unwrap(), config);
        Store { server, documents }
    }

    /// Gives the user of [`Store::limited`] all rights but these.
    pub fn set_rights(&self, rights: &[&str]) {
        let mut cmd = redis::cmd("ACL");
        cmd.arg(&[
            "SETUSER", "limited", "reset", "on", ">secret", "~*", "&*", "+@all",
        ]);
        cmd.arg(rights).exec(&mut self.server.connection()).unwrap();
    }

    /// The documents as a user whose rights can be taken away.
    pub fn limited(&self) -> Documents {
        self.set_rights(&[]);
        let url = format!("redis://limited:secret@127.0.0.1:{}", self.server.port());
        Documents::new(&Valkey::at(&url).unwrap(), DocumentsConfig::default())
    }

    pub async fn create(&self, id: &str, data: Value) -> Document {
        self.change(id, Change::Create(object(data), Expiry::Keep))
            .await
            .unwrap()
    }

    pub async fn change(&self, id: &str, change: Change) -> Result<Document, DocumentError> {
        self.documents.write("s", id, &write(change)).await
    }

    /// The remaining time of a key of the document `a`, in milliseconds; -1 without one.
    pub fn ttl(&self, key: &str) -> i64 {
        redis::cmd("PTTL")
            .arg(format!("sd1:{{s:a}}:{key}"))
            .query(&mut self.server.connection())
            .unwrap()
    }

    /// The server's clock, in milliseconds since 1970.
    pub fn now(&self) -> u64 {
        let (seconds, micros): (u64, u64) = redis::cmd("TIME")
            .query(&mut self.server.connection())
            .unwrap();
        seconds * 1_000 + micros / 1_000
    }

    /// The ids in all parts of all indexes.
    pub fn indexed(&self) -> Vec<String> {
        let mut connection = self.server.connection();
        let parts = self.server.keys("sd1:*:index").into_iter();
        parts
            .flat_map(|part| connection.zrange::<_, Vec<String>>(part, 0, -1).unwrap())
            .collect()
    }

    pub async fn data(&self, id: &str) -> Value {
        parse(&self.documents.get("s", id).await.unwrap())["data"].clone()
    }
}

pub fn write(change: Change) -> Write {
    Write {
        change,
        expected_revision: None,
        conditions: Default::default(),
        idempotency: None,
    }
}

/// From this millisecond on.
pub fn at(ms: u64) -> Expiry {
    Expiry::At(ms.try_into().unwrap())
}

pub fn replace(data: Value) -> Change {
    Change::Replace(object(data), Expiry::Keep)
}

pub fn object(data: Value) -> Data {
    match data {
        Value::Object(data) => data,
        other => panic!("{} is not an object", json!(other)),
    }
}

pub fn parse(document: &Document) -> Value {
    serde_json::from_str(&document.json).unwrap()
}
