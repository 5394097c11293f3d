//! The lines that jobs log.

use futures_util::StreamExt;
use sluice_queue::{JobError, JobView, LINE_LIMIT, LOG_LIMIT, LOG_LINES, LogLevel, Running, State};
use sluice_test_support::TestValkey;

use crate::common::*;

fn texts(job: &JobView) -> Vec<&str> {
    job.log.iter().map(|line| line.text.as_str()).collect()
}

#[tokio::test]
async fn lines_are_kept_in_order_with_their_attempt_and_level() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |running: Running| {
        running.log(LogLevel::Info, format!("attempt {}", running.attempt()));
        if running.attempt() == 1 {
            running.log(LogLevel::Warn, "not yet:\n\"later\"");
            return Err(JobError::Retry("once".into()));
        }
        Ok(json(&()))
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    finished(&queues, &id).await;
    let job = queues.get(&id).await.unwrap().unwrap();
    assert_eq!(
        texts(&job),
        ["attempt 1", "not yet:\n\"later\"", "attempt 2"]
    );
    let levels: Vec<_> = job.log.iter().map(|line| line.level).collect();
    assert_eq!(levels, [LogLevel::Info, LogLevel::Warn, LogLevel::Info]);
    let attempts: Vec<_> = job.log.iter().map(|line| line.attempt).collect();
    assert_eq!(attempts, [1, 1, 2]);
    assert!(job.log.is_sorted_by_key(|line| line.at));
    assert!(job.log[0].at >= job.created_at);
    assert_eq!(job.log_dropped, 0);
    worker.stop().await;
}

#[tokio::test]
async fn of_many_lines_the_last_are_kept_and_the_others_are_counted() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |running: Running| {
        for n in 0..LOG_LINES * 3 {
            running.log(LogLevel::Debug, n.to_string());
            if n % 50 == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            }
        }
        Ok(json(&()))
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    finished(&queues, &id).await;
    let job = queues.get(&id).await.unwrap().unwrap();
    let last: Vec<_> = (LOG_LINES * 2..LOG_LINES * 3)
        .map(|n| n.to_string())
        .collect();
    assert_eq!(texts(&job), last);
    assert_eq!(job.log_dropped, LOG_LINES as u64 * 2);
    worker.stop().await;
}

#[tokio::test]
async fn long_lines_are_cut_and_a_log_has_no_more_bytes_than_it_may() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |running: Running| {
        for _ in 0..100 {
            running.log(LogLevel::Error, "ö".repeat(LINE_LIMIT));
        }
        running.log(LogLevel::Info, "last");
        Ok(json(&()))
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    finished(&queues, &id).await;
    let job = queues.get(&id).await.unwrap().unwrap();
    assert_eq!(job.log[0].text, "ö".repeat(LINE_LIMIT / 2));
    assert_eq!(job.log.last().unwrap().text, "last");
    let bytes: usize = job.log.iter().map(|line| line.text.len()).sum();
    assert!((LOG_LIMIT / 2..LOG_LIMIT).contains(&bytes), "{bytes}");
    assert_eq!(job.log.len() as u64 + job.log_dropped, 101);
    worker.stop().await;
}

#[tokio::test]
async fn whoever_watches_sees_new_lines() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |running: Running| {
        running.log(LogLevel::Info, "here");
        running.cancelled().cancelled().await;
        Err(JobError::Cancelled)
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    let mut changes = Box::pin(queues.watch(&id));
    while let Some(job) = changes.next().await {
        if texts(&job.unwrap()) == ["here"] {
            queues.cancel(&id).await.unwrap();
        }
    }
    let job = queues.get(&id).await.unwrap().unwrap();
    assert_eq!((texts(&job), job.state), (vec!["here"], State::Cancelled));
    worker.stop().await;
}

#[tokio::test]
async fn a_run_that_lost_its_lease_logs_nothing_any_more() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let url = valkey.url();
    let worker = work(&queues, fast("w", 1), move |running: Running| {
        let url = url.clone();
        async move {
            if running.attempt() == 1 {
                // As when somebody else has the job by now.
                let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
                let key = format!("job:{}", damage::member(running.id()));
                damage::damage(&mut connection, "q", "HSET", &key, &["run", "1/another/w"]);
                running.log(LogLevel::Info, "stale");
                running.cancelled().cancelled().await;
            }
            running.log(LogLevel::Info, "fresh");
            Ok(json(&()))
        }
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    finished(&queues, &id).await;
    let job = queues.get(&id).await.unwrap().unwrap();
    assert_eq!(texts(&job), ["fresh"]);
    worker.stop().await;
}
