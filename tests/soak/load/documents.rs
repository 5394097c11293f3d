//! Writers and readers of documents.

use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{one_in, pause};
use crate::call::{Call, Step};
use crate::caller::Caller;

pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Marks with names of their own.
struct Marks {
    prefix: String,
    count: u32,
}

impl Marks {
    fn new() -> Self {
        let prefix = format!("{:06x}", rand::random::<u32>() >> 8);
        Self { prefix, count: 0 }
    }

    fn next(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.prefix, self.count)
    }
}

/// Sends each write until it is answered, and some of them once more then.
pub async fn write_keyed(caller: Caller, document: String) {
    let mut marks = Marks::new();
    while !caller.is_over() {
        let call = marking(&document, &mut marks, true, false);
        if caller.persist(&call).await.is_some() && one_in(8) {
            caller.once(&call).await;
        }
        pause(150).await;
    }
}

/// Has jobs make its writes, and waits for the end of some.
pub async fn write_later(caller: Caller, document: String) {
    let mut marks = Marks::new();
    while !caller.is_over() {
        let call = marking(&document, &mut marks, true, true);
        if one_in(5) {
            caller.to_the_end(&call).await;
        } else {
            caller.persist(&call).await;
        }
        pause(200).await;
    }
}

/// Has no keys, and so does not know what became of a write that is not answered.
pub async fn write_once(caller: Caller, document: String) {
    let mut marks = Marks::new();
    while !caller.is_over() {
        caller
            .once(&marking(&document, &mut marks, false, false))
            .await;
        pause(150).await;
    }
}

/// Writes on the revision that it read, as others do at that moment.
pub async fn contend(caller: Caller, document: String) {
    let mut marks = Marks::new();
    let read = Call::Read {
        document: document.clone(),
    };
    while !caller.is_over() {
        let mut call = marking(&document, &mut marks, one_in(2), false);
        let seen = caller.once(&read).await;
        if let Call::Mark { expected, .. } = &mut call {
            *expected = seen.and_then(|seen| seen.body["revision"].as_u64());
        }
        match call {
            Call::Mark { key: Some(_), .. } => caller.persist(&call).await,
            _ => caller.once(&call).await,
        };
        pause(100).await;
    }
}

fn marking(document: &str, marks: &mut Marks, keyed: bool, later: bool) -> Call {
    let mark = marks.next();
    Call::Mark {
        document: document.to_owned(),
        key: keyed.then(|| mark.clone()),
        mark,
        expected: None,
        later,
    }
}

/// Writes to several documents at once; some twice to one.
pub async fn write_batches(caller: Caller, documents: Vec<String>) {
    let mut marks = Marks::new();
    while !caller.is_over() {
        let service = documents[rand::random_range(0..documents.len())].split_once('/');
        let (service, _) = service.unwrap();
        let ids = documents
            .iter()
            .filter_map(|it| it.strip_prefix(service)?.strip_prefix('/'));
        let mut writes: Vec<(String, String)> =
            ids.map(|id| (id.to_owned(), marks.next())).collect();
        writes.push((writes[0].0.clone(), marks.next()));
        let call = Call::Batch {
            service: service.to_owned(),
            marks: writes,
            later: one_in(2),
        };
        caller.persist(&call).await;
        pause(400).await;
    }
}

pub async fn read(caller: Caller, documents: Vec<String>) {
    while !caller.is_over() {
        for document in &documents {
            let document = document.clone();
            caller.once(&Call::Read { document }).await;
            pause(100).await;
        }
    }
}

/// Creates the document for a short time, writes to it, and creates it again soon after it has
/// expired.
pub async fn live(caller: Caller, document: String) {
    for n in 0.. {
        if caller.is_over() {
            return;
        }
        let life = format!("life-{n}");
        let lasting = Duration::from_millis(rand::random_range(500..1500));
        let until = (SystemTime::now() + lasting).duration_since(UNIX_EPOCH);
        let create = Call::Live {
            document: document.clone(),
            life: life.clone(),
            until: until.unwrap().as_millis() as u64,
            key: life.clone(),
        };
        let answer = caller.persist(&create).await;
        let mut lives = answer.is_some_and(|answer| answer.status == 201);
        for size in 2.. {
            if !lives {
                break;
            }
            let grow = Call::Grow {
                document: document.clone(),
                life: life.clone(),
                size,
                key: format!("{life}-{size}"),
            };
            let answer = caller.persist(&grow).await;
            lives = answer.is_some_and(|answer| answer.status < 300);
            pause(150).await;
        }
    }
}

/// One writer alone with his documents: each write must find what the last one left.
pub async fn step(caller: Caller, prefix: String) {
    for n in 0.. {
        let document = format!("{prefix}-{n}");
        let mut last = None;
        for revision in 1..=40 {
            if caller.is_over() {
                return;
            }
            let step = match last {
                None => Step::Create,
                Some(Step::Delete) => Step::Restore,
                Some(_) => {
                    [Step::Put, Step::Merge, Step::Mutate, Step::Delete][rand::random_range(0..4)]
                }
            };
            let call = Call::Step {
                document: document.clone(),
                revision,
                step,
                key: format!("step-{revision}"),
            };
            // What is not known or was refused ends the document's story; the checker looks at it.
            let answer = caller.persist(&call).await;
            if !answer.is_some_and(|answer| [200, 201].contains(&answer.status)) {
                break;
            }
            last = Some(step);
            pause(100).await;
        }
    }
}
