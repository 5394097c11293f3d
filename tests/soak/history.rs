//! What happened in a round, in order, as JSON lines: what was asked and answered, what was seen,
//! what broke.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Call;

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Microseconds since the round began.
    pub at: u64,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The nemesis breaks a part, or mends it.
    Fault { what: String },
    /// A request goes out.
    Sent { op: u64, call: Call },
    /// It was answered.
    Answered { op: u64, answer: Answer },
    /// Whether it was done is not known.
    Lost { op: u64, why: String },
    /// A watcher of a document heard an event.
    Seen {
        watcher: String,
        document: String,
        kind: String,
        revision: u64,
        /// What [`abridged`] leaves of the document.
        body: Value,
    },
    /// A stream of a job told its state.
    Followed { job: String, view: Value },
    /// The tail told of a change.
    Nudged {
        doc: String,
        ts: u64,
        user: String,
        id: String,
    },
    /// The keys of a user who left, without those that are to stay, and his documents in Convex
    /// where they were counted.
    Left {
        user: String,
        kind: String,
        keys: Vec<String>,
        documents: Option<usize>,
    },
    /// A document at the end; null when it is not there.
    Document { document: String, body: Value },
    /// A job at the end; null when it is not there.
    Job { job: String, view: Value },
    /// How many unfinished jobs the lines of the queues still hold at the end; empty ones are left
    /// out.
    Lines { left: BTreeMap<String, u64> },
    /// A socket of file sync told of a change.
    Frame {
        share: String,
        position: u64,
        id: String,
    },
    /// The log of a share of file sync at the end.
    Log { share: String, changes: Vec<Value> },
    /// What the download of a file answers at the end: the status and the content.
    Content {
        file: String,
        status: u16,
        text: String,
    },
    /// The files of a user at the end, each with its version.
    Files {
        user: String,
        /// Whether the cached set claims to hold all files.
        complete: bool,
        cached: BTreeMap<String, u64>,
        convex: BTreeMap<String, u64>,
    },
}

/// An answer over HTTP.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// The JSON of the body; of a document what [`abridged`] leaves.
    pub body: Value,
    /// The body, when it is no JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A document with the last of its marks and how many there are in place of all.
pub fn abridged(mut document: Value) -> Value {
    if let Some(data) = document.get_mut("data").and_then(Value::as_object_mut)
        && let Some(Value::Array(marks)) = data.remove("marks")
    {
        data.insert("made".to_owned(), marks.len().into());
        data.insert("last".to_owned(), marks.last().cloned().into());
    }
    document
}

/// Writes the history of one round.
pub struct History {
    begun: Instant,
    file: Mutex<BufWriter<File>>,
    path: PathBuf,
    ops: AtomicU64,
}

impl History {
    pub fn create(path: &Path) -> Self {
        Self {
            begun: Instant::now(),
            file: Mutex::new(BufWriter::new(File::create(path).unwrap())),
            path: path.to_owned(),
            ops: AtomicU64::new(0),
        }
    }

    pub fn record(&self, event: Event) {
        let mut file = self.file.lock().unwrap();
        // Taken under the lock, so that the lines are in the order of their times.
        let at = self.begun.elapsed().as_micros() as u64;
        serde_json::to_writer(&mut *file, &Entry { at, event }).unwrap();
        file.write_all(b"\n").unwrap();
    }

    /// Records that a request goes out and gives its number.
    pub fn sent(&self, call: Call) -> u64 {
        let op = self.ops.fetch_add(1, Ordering::Relaxed);
        self.record(Event::Sent { op, call });
        op
    }

    /// All of it so far, read back from the file.
    pub fn read(&self) -> Vec<Entry> {
        // Others may go on writing meanwhile, and the end of what they wrote may be half a line.
        let length = {
            let mut file = self.file.lock().unwrap();
            file.flush().unwrap();
            file.get_ref().metadata().unwrap().len()
        };
        let file = BufReader::new(File::open(&self.path).unwrap().take(length));
        let parse = |line: std::io::Result<String>| serde_json::from_str(&line.unwrap()).unwrap();
        file.lines().map(parse).collect()
    }
}
