//! Sends calls to either API node, or to Convex, and records what became of them.

use std::sync::Arc;
use std::time::Duration;

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use reqwest::Method;
use reqwest::header::RETRY_AFTER;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::call::Call;
use crate::harness::DEPLOY_KEY;
use crate::history::{Answer, Event, History, abridged};

/// How long a caller waits for an answer; longer than a node may stand still.
const TIMEOUT: Duration = Duration::from_secs(6);
/// Between two attempts of one call.
const PAUSE: Duration = Duration::from_millis(150);

#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    pub apis: Arc<[String]>,
    convex: String,
    pub token: String,
    pub history: Arc<History>,
    /// When the load ends, and when nobody tries again any more.
    pub end: Instant,
    pub give_up: Instant,
}

impl Caller {
    pub fn new(apis: &[String], convex: &str, token: String, history: Arc<History>) -> Self {
        Self {
            http: reqwest::Client::builder().timeout(TIMEOUT).build().unwrap(),
            apis: apis.into(),
            convex: convex.to_owned(),
            token,
            history,
            end: Instant::now(),
            give_up: Instant::now(),
        }
    }

    /// The same caller for a load of this length, who tries for some time longer.
    pub fn lasting(self, load: Duration, grace: Duration) -> Self {
        let end = Instant::now() + load;
        Self {
            end,
            give_up: end + grace,
            ..self
        }
    }

    /// The same caller with another token.
    pub fn with_token(&self, token: String) -> Self {
        Self {
            token,
            ..self.clone()
        }
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// The address of either node.
    pub fn api(&self) -> &str {
        &self.apis[rand::random_range(0..self.apis.len())]
    }

    /// Sends it once.
    pub async fn once(&self, call: &Call) -> Option<Answer> {
        let op = self.history.sent(call.clone());
        match self.send(call).await {
            Ok(mut answer) => {
                let whole = std::mem::take(&mut answer.body);
                answer.body = abridged(whole);
                let recorded = answer.clone();
                self.history.record(Event::Answered { op, answer });
                Some(recorded)
            }
            Err(error) => {
                let why = format!("{:?}", error.without_url());
                self.history.record(Event::Lost { op, why });
                None
            }
        }
    }

    /// Sends it until it is answered for good, as one does with a key.
    pub async fn persist(&self, call: &Call) -> Option<Answer> {
        loop {
            let answer = self.once(call).await;
            if answer.as_ref().is_some_and(|answer| answer.status != 503) {
                return answer;
            }
            if Instant::now() >= self.give_up {
                return None;
            }
            sleep(PAUSE).await;
        }
    }

    /// As [`Caller::persist`]; when a job is to do it, waits for its end and gives the job.
    pub async fn to_the_end(&self, call: &Call) -> Option<Value> {
        let answer = self.persist(call).await?;
        let Some(job) = answer.body["job"].as_str().filter(|_| answer.status == 202) else {
            return Some(answer.body);
        };
        let look = Call::Job {
            job: job.to_owned(),
        };
        if rand::random() {
            let _ = self.follow(job).await;
        }
        while let Some(answer) = self.persist(&look).await {
            if answer.status != 200 || is_final(&answer.body) {
                return Some(answer.body);
            }
            if Instant::now() >= self.give_up {
                return None;
            }
            sleep(PAUSE).await;
        }
        None
    }

    /// Follows a job by its events until they end.
    async fn follow(&self, job: &str) -> reqwest::Result<()> {
        let at = format!("{}/api/v1/jobs/{job}", self.api());
        let request = self.http.get(at).bearer_auth(&self.token);
        let request = request.header("accept", "text/event-stream");
        let answer = request.send().await?.error_for_status()?;
        let mut events = answer.bytes_stream().eventsource();
        while let Some(Ok(event)) = events.next().await {
            if event.event == "state" || event.event == "progress" {
                let view = serde_json::from_str(&event.data).unwrap();
                let job = job.to_owned();
                self.history.record(Event::Followed { job, view });
            }
        }
        Ok(())
    }

    /// The answer with its whole body.
    pub async fn send(&self, call: &Call) -> reqwest::Result<Answer> {
        let request = call.request();
        let (base, authorization) = match call.is_import() {
            true => (self.convex.as_str(), format!("Convex {DEPLOY_KEY}")),
            false => (self.api(), format!("Bearer {}", self.token)),
        };
        let is_get = request.method == Method::GET;
        let mut sent = self
            .http
            .request(request.method, format!("{base}{}", request.path))
            .header("authorization", authorization);
        if let (Call::Upload { .. }, Value::String(text)) = (call, &request.body) {
            sent = sent.body(text.clone());
        } else if !is_get && !request.body.is_null() {
            sent = sent.json(&request.body);
        }
        if let Some(key) = request.key {
            sent = sent.header("idempotency-key", key);
        }
        if request.later {
            sent = sent.header("prefer", "respond-async");
        }
        let answer = sent.send().await?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|it| it.to_str().ok().map(str::to_owned));
        let text = answer.text().await?;
        let body = serde_json::from_str(&text);
        Ok(Answer {
            status,
            retry_after,
            text: body.is_err().then_some(text),
            body: body.unwrap_or_default(),
        })
    }
}

/// Whether a job, as the API shows it, has ended.
pub fn is_final(view: &Value) -> bool {
    ["completed", "cancelled", "dead"].contains(&view["state"].as_str().unwrap_or_default())
}
