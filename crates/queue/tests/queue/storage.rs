//! Typed tasks, as apalis' users push, handle and list them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use apalis::prelude::*;
use apalis_core::backend::Vacuum;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sluice_queue::{
    Backoff, JobError, JobId, NewJob, QueueError, Queues, Run, State, ValkeyStorage, WorkerConfig,
};
use sluice_test_support::TestValkey;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::common::*;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Email {
    to: String,
}

fn to(to: impl Into<String>) -> Email {
    Email { to: to.into() }
}

fn emails(queues: &Queues) -> ValkeyStorage<Email> {
    ValkeyStorage::new(queues, "emails").with_config(WorkerConfig {
        name: String::new(),
        ..fast("", 4)
    })
}

/// A task, and the id to ask for it.
fn task(email: Email) -> (TaskId, TaskBuilder<Email>) {
    let id = TaskId::from(JobId::new("emails"));
    (id.clone(), TaskBuilder::new(email).task_id(id))
}

async fn job_of(queues: &Queues, id: &TaskId) -> sluice_queue::JobView {
    let id = JobId::try_from(id).unwrap();
    queues.get(&id).await.unwrap().unwrap()
}

async fn until_state(queues: &Queues, id: &TaskId, state: State) -> sluice_queue::JobView {
    let id = JobId::try_from(id).unwrap();
    until(queues, &id, |job| job.state == state).await
}

/// What a worker tells its listeners of tasks.
type Events = mpsc::UnboundedReceiver<Result<(), Arc<BoxDynError>>>;

/// A listener, and what it hears of tasks that ended.
fn listener() -> (
    impl Fn(&WorkerContext, &Event) + Send + Sync + 'static,
    Events,
) {
    let (sender, events) = mpsc::unbounded_channel();
    let listener = move |_: &WorkerContext, event: &Event| {
        let ended = match event {
            Event::Success(_) => Ok(()),
            Event::Error(error) => Err(error.clone()),
            _ => return,
        };
        let _ = sender.send(ended);
    };
    (listener, events)
}

async fn next(events: &mut Events) -> Result<(), Arc<BoxDynError>> {
    let event = tokio::time::timeout(LONG, events.recv()).await;
    event.expect("no event").unwrap()
}

/// Runs a worker of one handler until it stops.
macro_rules! start {
    ($storage:expr, $context:expr, $listener:expr, $handler:expr) => {{
        let worker = WorkerBuilder::new($context)
            .backend($storage)
            .on_event($listener)
            .build($handler);
        tokio::spawn(worker.run())
    }};
}

async fn stop(context: &WorkerContext, running: JoinHandle<Result<(), WorkerError>>) {
    context.stop().unwrap();
    let ended = tokio::time::timeout(LONG, running).await;
    ended.expect("the worker does not stop").unwrap().unwrap();
}

#[tokio::test]
async fn tasks_are_pushed_in_every_way_and_handled_with_what_a_handler_asks_for() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut storage = emails(&queues);
    storage.push(to("one")).await.unwrap();
    storage
        .push_bulk(vec![to("bulk-1"), to("bulk-2")])
        .await
        .unwrap();
    // More than one script takes.
    let streamed = (0..450).map(|it| to(format!("stream-{it}")));
    storage
        .push_stream(stream::iter(streamed.clone()))
        .await
        .unwrap();
    let (id, builder) = task(to("built"));
    storage.push_task(builder.build()).await.unwrap();
    let all = ["all-1", "all-2"].map(|it| TaskBuilder::new(to(it)).build());
    storage.push_all(stream::iter(all)).await.unwrap();

    type Seen = Arc<Mutex<BTreeSet<Email>>>;
    async fn send(
        email: Email,
        id: TaskId,
        attempt: Attempt,
        run: Run,
        worker: WorkerContext,
        seen: Data<Seen>,
    ) -> Result<usize, BoxDynError> {
        assert_eq!(id.to_string(), run.id().as_str());
        assert_eq!((attempt.current(), run.attempt()), (1, 1));
        let mut seen = seen.lock().unwrap();
        assert!(seen.insert(email), "a task ran twice");
        if seen.len() == 456 {
            worker.stop()?;
        }
        Ok(seen.len())
    }
    let seen = Seen::default();
    let worker = WorkerBuilder::new("sender")
        .backend(storage)
        .data(seen.clone())
        .enable_tracing()
        .catch_panic()
        .build(send);
    tokio::time::timeout(LONG, worker.run())
        .await
        .unwrap()
        .unwrap();

    let mut expected: BTreeSet<Email> = streamed.collect();
    expected.extend(["one", "bulk-1", "bulk-2", "built", "all-1", "all-2"].map(to));
    assert_eq!(*seen.lock().unwrap(), expected);
    let job = job_of(&queues, &id).await;
    assert_eq!((job.state, job.attempts), (State::Completed, 1));
    assert!(
        job.worker.unwrap().starts_with("sender"),
        "named as the worker is"
    );
}

#[tokio::test]
async fn the_options_of_a_task_are_those_of_its_job() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut storage = emails(&queues);

    let (plain, builder) = task(to("plain"));
    storage.push_task(builder.build()).await.unwrap();
    let job = job_of(&queues, &plain).await;
    assert_eq!(
        (job.priority, job.max_attempts, job.unique_key),
        (5, Some(8), None)
    );
    assert_eq!(job.payload.get(), r#"{"to":"plain"}"#);

    let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
    let since_1970 = in_an_hour.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let (rich, builder) = task(to("rich"));
    let builder = builder.priority(2).max_attempts(3).idempotency_key("k");
    storage
        .push_task(builder.run_at_time(in_an_hour).build())
        .await
        .unwrap();
    let job = job_of(&queues, &rich).await;
    assert_eq!((job.priority, job.max_attempts), (3, Some(3)));
    assert_eq!(
        (job.state, job.run_at),
        (State::Scheduled, since_1970.as_secs() * 1000)
    );
    assert_eq!(job.unique_key.as_deref(), Some("k"));

    // Neither the id nor the key is used twice.
    let (other, builder) = task(to("same key"));
    storage
        .push_task(builder.idempotency_key("k").build())
        .await
        .unwrap();
    let other = storage.fetch_by_id(&other).await.unwrap();
    assert!(other.is_none());
    let again = TaskBuilder::new(to("same id")).task_id(plain.clone());
    storage.push_task(again.build()).await.unwrap();
    assert_eq!(
        job_of(&queues, &plain).await.payload.get(),
        r#"{"to":"plain"}"#
    );
    assert_eq!(
        queues
            .list("emails", State::Available, 0, 10)
            .await
            .unwrap()
            .len(),
        1
    );

    let mut metadata = MetadataStore::new();
    metadata.insert("a", "b").unwrap();
    for refused in [
        TaskBuilder::new(to("metadata")).with_metadata(metadata),
        TaskBuilder::new(to("queue")).queue("other".parse().unwrap()),
        TaskBuilder::new(to("id")).task_id(TaskId::from_string("not-one")),
        TaskBuilder::new(to("id of another queue")).task_id(JobId::new("other").into()),
        TaskBuilder::new(to("time")).run_at_timestamp(u64::MAX),
    ] {
        let refused = refused.build();
        let what = refused.args.to.clone();
        let pushed = storage.push_task(refused).await;
        assert!(matches!(pushed, Err(TaskSinkError::PushError(_))), "{what}");
    }
}

#[tokio::test]
async fn a_failure_is_one_to_layers_and_events_and_is_recorded_once_for_each_attempt() {
    #[derive(Debug, thiserror::Error)]
    #[error("no route to {0}")]
    struct NoRoute(String);

    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut storage = emails(&queues);
    let (id, builder) = task(to("ann"));
    storage
        .push_task(builder.max_attempts(3).build())
        .await
        .unwrap();

    let (listener, mut events) = listener();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let layers = seen.clone();
    let context = WorkerContext::new("sender");
    let worker = WorkerBuilder::new(&context)
        .backend(storage)
        .enable_tracing()
        .catch_panic()
        .ack_with(
            move |result: &Result<(), BoxDynError>, task: &ExecutionContext| {
                let error = result.as_ref().map_err(ToString::to_string);
                layers
                    .lock()
                    .unwrap()
                    .push((error.cloned(), task.attempt()));
                std::future::ready(Ok::<_, std::io::Error>(()))
            },
        )
        .on_event(listener)
        .build(async |email: Email| Err::<(), _>(NoRoute(email.to)));
    let running = tokio::spawn(worker.run());

    for _ in 0..3 {
        let error = next(&mut events).await.unwrap_err();
        assert_eq!(error.downcast_ref::<NoRoute>().unwrap().0, "ann");
    }
    let job = until_state(&queues, &id, State::Dead).await;
    let errors: Vec<_> = job
        .errors
        .iter()
        .map(|it| (it.message.as_str(), it.attempt))
        .collect();
    let message = "no route to ann";
    assert_eq!(errors, [(message, 1), (message, 2), (message, 3)]);
    let expected: Vec<_> = (1..=3).map(|it| (Err(message.to_owned()), it)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
    stop(&context, running).await;
    assert!(events.try_recv().is_err(), "more events than attempts");
}

#[tokio::test]
async fn errors_of_apalis_mean_what_they_say() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    // Whatever names no pause waits longer than the test.
    let mut storage = emails(&queues).with_config(WorkerConfig {
        backoff: Backoff::doubling(LONG * 2, LONG * 2),
        ..fast("", 1)
    });
    let mut ids = Vec::new();
    for email in ["abort", "after", "defer", "refuse"] {
        let (id, builder) = task(to(email));
        storage.push_task(builder.build()).await.unwrap();
        ids.push(id);
    }
    let (listener, mut events) = listener();
    let context = WorkerContext::new("sender");
    let runs = Arc::new(Mutex::new(0));
    let running = start!(
        storage,
        &context,
        listener,
        move |email: Email, attempt: Attempt| {
            let runs = runs.clone();
            async move {
                let first = attempt.current() == 1;
                match email.to.as_str() {
                    "abort" => Err(AbortError::new("a").into()),
                    "after" if first => {
                        Err(RetryAfterError::new("b", Duration::from_millis(1)).into())
                    }
                    "defer" => {
                        let mut runs = runs.lock().unwrap();
                        *runs += 1;
                        match *runs {
                            1 => Err(DeferredError::new("c").into()),
                            _ => Ok(json!(*runs)),
                        }
                    }
                    "refuse" => Err(JobError::refuse(&"d").into()),
                    _ => Ok::<_, BoxDynError>(json!(attempt.current())),
                }
            }
        }
    );
    let mut ended = Vec::new();
    for _ in 0..6 {
        ended.push(next(&mut events).await.is_ok());
    }
    assert_eq!(
        ended.iter().filter(|&&it| it).count(),
        2,
        "two of six runs have a result"
    );

    let [abort, after, defer, refuse] = &ids[..] else {
        unreachable!()
    };
    let job = until_state(&queues, abort, State::Dead).await;
    assert_eq!((job.attempts, job.errors[0].message.as_str()), (1, "a"));
    let job = until_state(&queues, after, State::Completed).await;
    assert_eq!((job.attempts, job.errors[0].message.as_str()), (2, "b"));
    assert_eq!(job.result.unwrap().get(), "2");
    let job = until_state(&queues, defer, State::Completed).await;
    assert_eq!(
        (job.attempts, job.errors.len()),
        (1, 0),
        "the first run does not count"
    );
    let job = until_state(&queues, refuse, State::Completed).await;
    assert_eq!(job.error.unwrap().get(), r#""d""#);
    stop(&context, running).await;
}

#[tokio::test]
async fn a_panic_is_a_failure_and_under_a_layer_that_catches_it_the_last_one() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    async fn panics(email: Email) -> Result<(), BoxDynError> {
        panic!("for {}", email.to);
    }
    for (catches, attempts) in [(false, 2), (true, 1)] {
        let mut storage = emails(&queues);
        let (id, builder) = task(to("ann"));
        storage
            .push_task(builder.max_attempts(2).build())
            .await
            .unwrap();
        let (listener, mut events) = listener();
        let context = WorkerContext::new("sender");
        let builder = WorkerBuilder::new(&context)
            .backend(storage)
            .on_event(listener);
        let running = if catches {
            let worker = builder.catch_panic().build(panics);
            tokio::spawn(worker.run())
        } else {
            let worker = builder.build(panics);
            tokio::spawn(worker.run())
        };
        for _ in 0..attempts {
            let error = next(&mut events).await.unwrap_err();
            assert!(error.to_string().contains("for ann"), "{error}");
        }
        let job = until_state(&queues, &id, State::Dead).await;
        assert_eq!(
            (job.attempts, job.errors.len()),
            (attempts, attempts as usize)
        );
        stop(&context, running).await;
    }
}

#[tokio::test]
async fn a_result_that_is_not_recorded_is_a_failure() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut storage = emails(&queues);
    storage.push(to("ann")).await.unwrap();
    let (listener, mut events) = listener();
    let context = WorkerContext::new("sender");
    let url = valkey.url();
    let running = start!(storage, &context, listener, move |_: Email, run: Run| {
        let url = url.clone();
        async move {
            // As if another worker had it.
            let job = run.id().as_str().split_once('_').unwrap().1.to_owned();
            let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
            let key = format!("sq1:{{emails}}:job:{job}");
            let _: i64 = redis::cmd("HSET")
                .arg(key)
                .arg("run")
                .arg("other")
                .query(&mut connection)?;
            Ok::<_, BoxDynError>(())
        }
    });
    let error = next(&mut events).await.unwrap_err();
    let error = error.downcast_ref::<QueueError>();
    assert!(matches!(error, Some(QueueError::LeaseLost(_))), "{error:?}");
    stop(&context, running).await;
}

#[tokio::test]
async fn a_payload_of_another_type_is_a_dead_letter_and_the_worker_goes_on() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut storage = emails(&queues);
    let other = NewJob::new("emails", &json!({ "from": "eve" })).unwrap();
    let other = TaskId::from(queues.enqueue(other).await.unwrap().id);
    let (good, builder) = task(to("ann"));
    storage.push_task(builder.build()).await.unwrap();
    let (listener, mut events) = listener();
    let context = WorkerContext::new("sender");
    let running = start!(storage, &context, listener, async |_: Email| {});
    next(&mut events).await.unwrap();
    until_state(&queues, &good, State::Completed).await;
    let job = until_state(&queues, &other, State::Dead).await;
    let message = &job.errors[0].message;
    assert!(message.contains("missing field `to`"), "{message}");
    stop(&context, running).await;
}

#[tokio::test]
async fn results_are_waited_for() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut storage = emails(&queues);
    let mut ids = Vec::new();
    for email in ["ok", "no", "never"] {
        let (id, builder) = task(to(email));
        storage
            .push_task(builder.max_attempts(1).build())
            .await
            .unwrap();
        ids.push(id);
    }
    let (late, builder) = task(to("late"));
    storage
        .push_task(builder.run_in_hours(1).build())
        .await
        .unwrap();
    let none: Vec<TaskResult<u32>> = storage.check_status(ids.clone()).await.unwrap();
    assert!(none.is_empty());

    let results = WaitForCompletion::<u32>::wait_for(
        &mut storage,
        [ids.clone(), vec![late.clone()]].concat(),
    );
    let (listener, _) = listener();
    let context = WorkerContext::new("sender");
    let running = start!(storage.clone(), &context, listener, async |email: Email| {
        match email.to.as_str() {
            "ok" => Ok(7),
            "no" => Err(JobError::refuse(&"full")),
            _ => Err(JobError::Retry("lost".into())),
        }
    });
    let cancelling = async {
        queues
            .cancel(&JobId::try_from(&late).unwrap())
            .await
            .unwrap();
    };
    let results = tokio::time::timeout(LONG, results.try_collect::<Vec<_>>());
    let (results, ()) = tokio::join!(results, cancelling);
    let mut results = results.unwrap().unwrap();
    let of = |results: &[TaskResult<u32>], id: &TaskId| {
        let found = results.iter().find(|it| it.task_id == *id).unwrap();
        (found.status.clone(), found.result.clone(), found.attempt)
    };
    let expected = [
        (&ids[0], (Status::Done, Ok(7), 1)),
        (&ids[1], (Status::Done, Err(r#""full""#.to_owned()), 1)),
        (&ids[2], (Status::Failed, Err("lost".to_owned()), 1)),
        (&late, (Status::Killed, Err("cancelled".to_owned()), 0)),
    ];
    for (id, expected) in &expected {
        assert_eq!(of(&results, id), *expected);
    }
    results = storage
        .check_status([ids.clone(), vec![late.clone()]].concat())
        .await
        .unwrap();
    for (id, expected) in &expected {
        assert_eq!(of(&results, id), *expected);
    }
    let missing = TaskId::from(JobId::new("emails"));
    let missing = WaitForCompletion::<u32>::wait_for_single(&mut storage, missing)
        .next()
        .await;
    assert!(matches!(missing, Some(Err(QueueError::NotFound(_)))));
    stop(&context, running).await;
}

fn page(status: Option<Status>, page: u32, size: u32) -> Filter {
    Filter {
        status,
        page,
        page_size: Some(size),
    }
}

#[tokio::test]
async fn tasks_queues_workers_and_figures_are_listed() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut storage = emails(&queues);
    let mut others = ValkeyStorage::<u32>::new(&queues, "numbers");
    others.push(1).await.unwrap();
    let (dead, builder) = task(to("never"));
    storage
        .push_task(builder.max_attempts(1).build())
        .await
        .unwrap();
    for number in 0..3 {
        storage.push(to(format!("ok-{number}"))).await.unwrap();
    }
    let context = WorkerContext::new("sender");
    let (listener, mut events) = listener();
    let running = start!(storage.clone(), &context, listener, async |email: Email| {
        match email.to.as_str() {
            "never" => Err("lost".to_owned()),
            _ => Ok(email.to),
        }
    });
    for _ in 0..4 {
        let _ = next(&mut events).await;
    }
    let workers = storage.list_workers().await.unwrap();
    let all_workers = storage.list_all_workers().await.unwrap();
    stop(&context, running).await;
    assert_eq!((workers.len(), all_workers.len()), (1, 1));
    assert!(workers[0].id.starts_with("sender@"), "{workers:?}");
    assert_eq!(workers[0].queue, "emails");
    assert!(
        workers[0].started_at <= workers[0].last_heartbeat + 1,
        "{workers:?}"
    );
    let (late, builder) = task(to("late"));
    storage
        .push_task(builder.run_in_minutes(10).build())
        .await
        .unwrap();

    let found = storage.fetch_by_id(&dead).await.unwrap().unwrap();
    assert_eq!(found.args, br#"{"to":"never"}"#);
    assert_eq!((found.status(), found.attempt()), (Status::Failed, 1));
    assert_eq!(found.max_attempts(), Some(1));
    assert!(found.done_at().is_some());
    assert!(
        others.fetch_by_id(&dead).await.unwrap().is_none(),
        "of another queue"
    );

    let ids = |tasks: Vec<Task<Vec<u8>>>| -> Vec<TaskId> {
        tasks
            .iter()
            .map(|it| it.task_id().unwrap().clone())
            .collect()
    };
    let everything = ids(storage.list_tasks(&page(None, 1, 10)).await.unwrap());
    assert_eq!(everything.len(), 5);
    let mut pages = Vec::new();
    for number in 1..=3 {
        pages.extend(ids(storage
            .list_tasks(&page(None, number, 2))
            .await
            .unwrap()));
    }
    assert_eq!(pages, everything);
    for (status, count) in [
        (Status::Pending, 1),
        (Status::Done, 3),
        (Status::Failed, 1),
        (Status::Running, 0),
        (Status::Killed, 0),
    ] {
        let listed = storage
            .list_tasks(&page(Some(status.clone()), 1, 10))
            .await
            .unwrap();
        assert_eq!(listed.len(), count, "{status}");
        assert!(listed.iter().all(|it| it.status() == status));
    }
    let pending = page(Some(Status::Pending), 1, 10);
    assert_eq!(ids(storage.list_tasks(&pending).await.unwrap()), [late]);
    let all = storage.list_all_tasks(&pending).await.unwrap();
    let all: BTreeSet<_> = all
        .iter()
        .map(|it| it.queue().unwrap().to_string())
        .collect();
    assert_eq!(
        all,
        BTreeSet::from(["emails".to_owned(), "numbers".to_owned()])
    );

    let listed = storage.list_queues().await.unwrap();
    let names: Vec<_> = listed.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["emails", "numbers"]);
    assert_eq!(listed[0].activity.len(), 7);
    assert_eq!(listed[0].activity.iter().sum::<usize>(), 4);
    assert_eq!(listed[1].activity.iter().sum::<usize>(), 0);
    let figure = |statistics: &[Statistic], title: &str| {
        let found = statistics.iter().find(|it| it.title == title);
        found.unwrap().value.parse::<u64>().unwrap()
    };
    let of_queue = storage.fetch_by_queue().await.unwrap();
    let of_all = storage.global().await.unwrap();
    for (title, here, everywhere) in [
        ("completed", 3, 3),
        ("dead", 1, 1),
        ("scheduled", 1, 1),
        ("available", 0, 1),
    ] {
        assert_eq!(figure(&of_queue, title), here, "{title}");
        assert_eq!(figure(&listed[0].stats, title), here, "{title}");
        assert_eq!(figure(&of_all, title), everywhere, "{title}");
    }

    // Nothing is as old as that.
    assert_eq!(storage.vacuum_before(LONG * 100).await.unwrap(), 0);
    assert!(storage.resume_by_id(dead.clone()).await.unwrap());
    assert!(
        !storage.resume_by_id(dead.clone()).await.unwrap(),
        "it waits by now"
    );
    assert_eq!(job_of(&queues, &dead).await.state, State::Available);

    // Unfinished ones stay.
    assert_eq!(storage.vacuum_before(Duration::ZERO).await.unwrap(), 3);
    assert_eq!(
        storage.list_tasks(&page(None, 1, 10)).await.unwrap().len(),
        2
    );
    let id = JobId::try_from(&dead).unwrap();
    queues.cancel(&id).await.unwrap();
    assert_eq!(storage.vacuum().await.unwrap(), 1);
    assert!(queues.get(&id).await.unwrap().is_none());
}

#[test]
fn outside_of_its_module_the_crate_does_not_name_apalis() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source.clone()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap().map(|it| it.unwrap().path()) {
            if entry.is_dir() {
                folders.extend((entry != source.join("apalis")).then_some(entry));
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&entry).unwrap();
            let uses = text.lines().find(|line| line.contains("apalis_core"));
            assert_eq!(uses, None, "in {}", entry.display());
        }
    }
    assert!(files > 30, "only {files} files were looked at");
}

#[tokio::test]
async fn a_monitor_runs_typed_workers_and_a_drain_ends_them() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut storage = emails(&queues);
    let (id, builder) = task(to("ann"));
    storage.push_task(builder.build()).await.unwrap();
    let workers = storage.clone();
    let monitor = Monitor::new().register(move |index| {
        WorkerBuilder::new(format!("sender-{index}"))
            .backend(workers.clone())
            .build(async |_: Email, run: Run| {
                run.cancelled().cancelled().await;
                Err::<(), _>(JobError::Cancelled)
            })
    });
    let context = monitor.context();
    let running = tokio::spawn(monitor.run());
    until_state(&queues, &id, State::Running).await;
    queues.drain(Duration::ZERO).await;
    context.shutdown().unwrap();
    let ended = tokio::time::timeout(LONG, running).await;
    ended.unwrap().unwrap().unwrap();
    let job = job_of(&queues, &id).await;
    assert_eq!((job.state, job.attempts), (State::Available, 0));
}
