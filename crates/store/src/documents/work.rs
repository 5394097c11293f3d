//! Work on large documents, kept from holding up whoever shares the thread.

use std::sync::Arc;
use std::thread::available_parallelism;

use serde_json::Value;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

use super::{Change, Data, Documents, Mutation};

/// So many bytes of JSON are read, changed and written in one or two milliseconds, which others can
/// wait. To move work costs 20 µs.
const LARGE: usize = 64 * 1024;

/// Whose turn it is to work on a large document: as many at a time as there are processors.
#[derive(Clone)]
pub(super) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Turns {
        let processors = available_parallelism().map_or(1, usize::from);
        Turns(Arc::new(Semaphore::new(processors)))
    }
}

impl Documents {
    /// Runs work that goes through about so many bytes of JSON. When they are many, the other tasks
    /// of this thread move to another one first, unless the runtime has no other.
    pub async fn work<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        let may_move = || Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
        if bytes < LARGE || !may_move() {
            return work();
        }
        let _turn = self.work_turns.0.acquire().await;
        block_in_place(work)
    }
}

/// About how many bytes of JSON are gone through to change a document of so many. Counting ends
/// where that is large.
pub(super) fn load(change: &Change, bytes: usize) -> usize {
    let mut load = Load(bytes);
    match change {
        Change::Create(data, _) | Change::Replace(data, _) | Change::Merge(data, _) => {
            load.add_fields(data);
        }
        Change::Mutate(mutations, _) => {
            for mutation in mutations {
                match mutation {
                    Mutation::Merge { value, .. } => load.add_fields(value),
                    Mutation::Set { value, .. }
                    | Mutation::Append { value, .. }
                    | Mutation::Insert { value, .. }
                    | Mutation::Test { value, .. } => load.add(value),
                    // What is copied may be nearly all there is.
                    Mutation::Copy { .. } => load.count(load.0),
                    Mutation::Increment { .. }
                    | Mutation::Unset { .. }
                    | Mutation::Toggle { .. }
                    | Mutation::Move { .. } => {}
                }
            }
        }
        Change::Delete | Change::Restore => {}
    }
    load.0
}

struct Load(usize);

impl Load {
    fn count(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes);
    }

    fn add(&mut self, value: &Value) {
        if self.0 >= LARGE {
            return;
        }
        match value {
            Value::Null | Value::Bool(_) => self.count(5),
            Value::Number(_) => self.count(10),
            Value::String(text) => self.count(text.len() + 3),
            Value::Array(items) => {
                self.count(2);
                items.iter().for_each(|item| self.add(item));
            }
            Value::Object(fields) => self.add_fields(fields),
        }
    }

    fn add_fields(&mut self, fields: &Data) {
        self.count(2);
        for (name, value) in fields {
            if self.0 >= LARGE {
                return;
            }
            self.count(name.len() + 4);
            self.add(value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc;
    use std::time::Duration;

    use serde_json::json;
    use tokio::runtime;

    use super::*;
    use crate::documents::{DocumentsConfig, Expiry};
    use sluice_valkey::Valkey;

    #[test]
    fn the_tasks_of_a_thread_go_on_while_it_works_on_a_large_document() {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let other = async {
            let valkey = Valkey::at("redis://127.0.0.1:1").unwrap();
            let documents = Documents::new(&valkey, DocumentsConfig::default());
            let (sender, receiver) = mpsc::channel();
            tokio::spawn(async move { sender.send("the other").unwrap() });
            let wait = move || receiver.recv_timeout(Duration::from_secs(10));
            documents.work(LARGE, wait).await
        };
        let other = runtime.block_on(async { tokio::spawn(other).await.unwrap() });
        assert_eq!(other, Ok("the other"));
    }

    fn mutate(mutations: Vec<Mutation>) -> Change {
        Change::Mutate(mutations, Expiry::Keep)
    }

    fn copies(count: usize) -> Change {
        let (from, path) = ("/a".to_owned(), "/b".to_owned());
        mutate(vec![Mutation::Copy { from, path }; count])
    }

    #[test]
    fn what_takes_long_is_told_from_what_does_not() {
        let fields = |count: usize| -> Data {
            let field = |n| (format!("field{n}"), json!({"n": n, "text": "a text"}));
            (0..count).map(field).collect()
        };
        let set = |value| Mutation::Set {
            path: "/a".to_owned(),
            value,
        };
        for (change, bytes, is_large) in [
            (Change::Delete, 1_000, false),
            (Change::Delete, LARGE, true),
            (Change::Create(fields(10), Expiry::Keep), 0, false),
            (Change::Create(fields(4_000), Expiry::Keep), 0, true),
            (mutate(vec![set(json!("x".repeat(100)))]), 1_000, false),
            (mutate(vec![set(json!("x".repeat(LARGE)))]), 1_000, true),
            (mutate(vec![set(json!([fields(4_000)]))]), 1_000, true),
            (copies(3), 1_000, false),
            (copies(27), 1_000, true),
            (copies(1_000), 1_000, true),
        ] {
            let load = load(&change, bytes);
            assert_eq!(load >= LARGE, is_large, "{load} of {bytes}");
        }
    }
}
