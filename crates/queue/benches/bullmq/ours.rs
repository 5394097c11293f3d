//! Sluice's side of the comparison: a process that takes the same commands as `side.mjs`.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use apalis::prelude::{WorkerBuilder, WorkerContext};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use sluice_queue::{HandlerResult, NewJob, QueueConfig, Queues, Running, WorkerConfig};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", tag = "do")]
enum Command {
    Ping {
        count: u64,
    },
    One {
        queue: String,
        jobs: u64,
        callers: u64,
    },
    Bulk {
        queue: String,
        jobs: u64,
        delay: u64,
    },
    Drain {
        queue: String,
        jobs: u64,
        concurrency: usize,
    },
    Latency {
        queue: String,
        samples: u64,
        concurrency: usize,
    },
}

/// Answers commands until standard input is closed.
#[tokio::main]
pub async fn serve(url: &str) {
    let config = QueueConfig {
        backlog_limit: usize::MAX,
        ..QueueConfig::default()
    };
    let queues = Queues::connect(url, config).await.unwrap();
    for line in std::io::stdin().lock().lines() {
        let command = serde_json::from_str(&line.unwrap()).unwrap();
        // Where a server's requests run, too; the main task's thread has to be woken at each step.
        let answer = tokio::spawn(answer(url.to_owned(), queues.clone(), command));
        let answer = answer.await.unwrap();
        println!("{answer}");
    }
}

async fn answer(url: String, queues: Queues, command: Command) -> serde_json::Value {
    let took = match command {
        Command::Ping { count } => ping(&url, count).await,
        Command::One {
            queue,
            jobs,
            callers,
        } => one(&queues, &queue, jobs, callers).await,
        Command::Bulk { queue, jobs, delay } => bulk(&queues, &queue, jobs, delay).await,
        Command::Drain {
            queue,
            jobs,
            concurrency,
        } => drain(&queues, &queue, jobs, concurrency).await,
        Command::Latency {
            queue,
            samples,
            concurrency,
        } => return latency(&queues, &queue, samples, concurrency).await,
    };
    json!(took.as_secs_f64())
}

/// The least that a command takes on a connection of the kind that the queue has.
async fn ping(url: &str, count: u64) -> Duration {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let begun = Instant::now();
    for _ in 0..count {
        let _: String = redis::cmd("PING")
            .query_async(&mut connection)
            .await
            .unwrap();
    }
    begun.elapsed()
}

async fn one(queues: &Queues, queue: &str, jobs: u64, callers: u64) -> Duration {
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let (queues, queue, next) = (queues.clone(), queue.to_owned(), next.clone());
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= jobs {
                        break;
                    }
                    let job = NewJob::new(&queue, &json!({ "n": n })).unwrap();
                    queues.enqueue(job).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    begun.elapsed()
}

async fn bulk(queues: &Queues, queue: &str, jobs: u64, delay: u64) -> Duration {
    const CALL: u64 = 10_000;
    let mut took = Duration::ZERO;
    for first in (0..jobs).step_by(CALL as usize) {
        let begun = Instant::now();
        let jobs: Vec<_> = (first..jobs.min(first + CALL))
            .map(|n| NewJob {
                delay: (delay > 0).then(|| Duration::from_millis(delay)),
                ..NewJob::new(queue, &json!({ "n": n })).unwrap()
            })
            .collect();
        for answer in queues.enqueue_all(&jobs).await.unwrap() {
            answer.unwrap();
        }
        took += begun.elapsed();
    }
    took
}

async fn drain(queues: &Queues, queue: &str, jobs: u64, concurrency: usize) -> Duration {
    let waiting = async || {
        let all = queues.queues().await.unwrap();
        let stats = all.into_iter().find(|stats| stats.name == queue).unwrap();
        stats.available + stats.running
    };
    let goal = waiting().await - jobs;
    let handled = Arc::new(AtomicU64::new(0));
    let counted = handled.clone();
    let begun = Instant::now();
    let worker = Worker::start(queues, queue, concurrency, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(RawValue::NULL.to_owned()) }
    });
    // They are done when the queue says so; until the last one was started it need not be asked.
    while handled.load(Ordering::Relaxed) < jobs || waiting().await > goal {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = begun.elapsed();
    worker.stop().await;
    took
}

async fn latency(
    queues: &Queues,
    queue: &str,
    samples: u64,
    concurrency: usize,
) -> serde_json::Value {
    #[derive(Deserialize)]
    struct Payload {
        probe: Option<u64>,
    }
    let starts: Arc<Mutex<HashMap<u64, Instant>>> = Arc::default();
    let seen = starts.clone();
    let worker = Worker::start(queues, queue, concurrency, move |running| {
        let now = Instant::now();
        if let Some(probe) = running.payload::<Payload>().unwrap().probe {
            seen.lock().unwrap().insert(probe, now);
        }
        async { Ok(RawValue::NULL.to_owned()) }
    });
    let (mut to_start, mut to_result) = (Vec::new(), Vec::new());
    for probe in 0..samples {
        let begun = Instant::now();
        let job = NewJob {
            priority: 0,
            ..NewJob::new(queue, &json!({ "probe": probe })).unwrap()
        };
        let id = queues.enqueue(job).await.unwrap().id;
        queues.wait(&id, LONG).await.unwrap().unwrap();
        to_result.push(begun.elapsed().as_secs_f64() * 1e3);
        let started = starts.lock().unwrap().remove(&probe).unwrap();
        to_start.push((started - begun).as_secs_f64() * 1e3);
    }
    worker.stop().await;
    json!({ "toStart": to_start, "toResult": to_result })
}

struct Worker {
    context: WorkerContext,
    running: tokio::task::JoinHandle<()>,
}

impl Worker {
    fn start<F, Fut>(queues: &Queues, queue: &str, concurrency: usize, handler: F) -> Self
    where
        F: FnMut(Running) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        let context = WorkerContext::new("w");
        let worker = WorkerBuilder::new(&context)
            .backend(queues.backend(queue, WorkerConfig::new("w", concurrency)))
            .build(handler);
        let running = tokio::spawn(async move { worker.run().await.unwrap() });
        Self { context, running }
    }

    async fn stop(self) {
        self.context.stop().unwrap();
        tokio::time::timeout(LONG, self.running)
            .await
            .expect("the worker does not stop")
            .unwrap();
    }
}
