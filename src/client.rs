//! The API from a terminal: submits a request, follows its job, prints the answer.

use std::time::Duration;

use clap::Args;
use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_api::answers::{self, Accepted};
use sluice_api::auth::{Identity, Scope, mint};
use sluice_client::{Client, ClientConfig};
use sluice_convex::Secret;
use sluice_jobs::Job;
use sluice_retry::Pauses;
use tokio::time::sleep;
use url::Url;

use crate::data_folder::DataFolder;
use crate::failure::{Context, Failure, chain};
use crate::progress::Progress;
use crate::settings::{DataSettings, DevSecretSettings};

/// The API of a `sluice serve` on this machine.
const DEFAULT_API: &str = "http://127.0.0.1:8080";

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The API sends at least a comment every 10 s.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// How often a request is sent that gets no answer, or the answer to come again.
const ATTEMPTS: u32 = 5;

/// The wait after the first attempt, which doubles from one to the next, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(12));

/// A minted token is for the one command.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Where the API is and who calls it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Settings")]
pub struct ClientSettings {
    /// The API's address
    /// [default: that of the `sluice dev` in the data folder, else http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", env = "SLUICE_API")]
    api: Option<Url>,

    /// A token with the scopes that the command needs: meta:write and meta:read, or admin; minted
    /// with the development secret when not set
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SLUICE_TOKEN",
        hide_env_values = true,
        hide_default_value = true
    )]
    token: Option<Secret>,

    #[command(flatten)]
    dev: DevSecretSettings,

    #[command(flatten)]
    data: DataSettings,
}

/// A caller of the API.
pub struct ApiClient {
    http: reqwest::Client,
    api: Url,
    token: Secret,
}

/// What of a job's progress is shown.
#[derive(Default, Deserialize)]
#[serde(default)]
struct JobProgress {
    entries: u64,
    bytes: u64,
}

impl ClientSettings {
    fn folder(&self) -> DataFolder {
        DataFolder::at(&self.data.data)
    }

    /// Where the API is.
    fn api(&self) -> Result<Url, Failure> {
        let api = match (&self.api, self.folder().addresses()) {
            (Some(api), _) => Ok(api.clone()),
            (None, Some(addresses)) => Url::parse(&addresses.api),
            (None, None) => Url::parse(DEFAULT_API),
        };
        api.context("cannot use the API's address")
    }

    /// A caller of file sync, whose tokens are renewed as long as it goes on: unless one is set, they
    /// are minted for this user.
    pub fn file_sync(
        &self,
        user: String,
        tenant: String,
        groups: Vec<String>,
    ) -> Result<Client, Failure> {
        let token: Box<dyn Fn() -> String + Send + Sync> = match &self.token {
            Some(token) => {
                let token = token.expose().to_owned();
                Box::new(move || token.clone())
            }
            None => {
                let secret = self.secret()?;
                let mint = move || {
                    let identity = Identity {
                        user: &user,
                        tenant: &tenant,
                        groups: &groups,
                    };
                    let scopes = [Scope::FilesRead, Scope::FilesWrite];
                    mint(secret.expose(), identity, &scopes, TOKEN_LIFE)
                };
                mint().context("cannot mint a token")?;
                // The same was minted just now.
                Box::new(move || mint().unwrap_or_default())
            }
        };
        let config = ClientConfig::new(self.api()?, token);
        Client::new(config).context("cannot set up a client")
    }

    /// The secret that is set, else the data folder's.
    fn secret(&self) -> Result<Secret, Failure> {
        let secret = self.dev.dev_secret.clone();
        secret
            .or_else(|| self.folder().existing_dev_secret())
            .ok_or_else(|| {
                Failure::new("no token")
                    .hint("set SLUICE_TOKEN, or --data to the folder of a `sluice dev`")
            })
    }
}

impl ApiClient {
    /// Finds the API and a token for `user` as the settings say.
    pub fn new(settings: &ClientSettings, user: &str) -> Result<Self, Failure> {
        let api = settings.api()?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(SILENCE_LIMIT)
            .build()
            .context("cannot set up an HTTP client")?;
        Ok(Self {
            http,
            api,
            token: token(settings, user)?,
        })
    }

    /// Posts `job`, shows its progress and gives what it answered.
    ///
    /// A refusal, such as `limit_exceeded`, is a failure.
    pub async fn run<J: Job>(
        &self,
        path: &str,
        label: &str,
        job: &J,
    ) -> Result<J::Answer, Failure> {
        let url = self.url(path)?;
        // The same key in each attempt: a request that arrived though its answer was lost is not
        // run twice.
        let key = format!("cli-{:032x}", rand::random::<u128>());
        let body = serde_json::to_string(job).context("cannot write the request as JSON")?;
        let response = self
            .send(|| {
                self.http
                    .post(url.clone())
                    .header("Prefer", "respond-async")
                    .header("Idempotency-Key", &key)
                    .header(CONTENT_TYPE, "application/json")
                    .body(body.clone())
            })
            .await?;
        if response.status() != StatusCode::ACCEPTED {
            return read(response).await;
        }
        let Accepted { job } = read(response).await?;
        let mut progress = Progress::start(label, None);
        progress.note(&format!("job {job}"));
        let answer = self.follow(&job, &mut progress).await;
        progress.finish();
        serde_json::from_value(answer?).context("cannot understand the job's answer")
    }

    /// A job as the API shows it.
    pub async fn job(&self, id: &str) -> Result<Box<RawValue>, Failure> {
        let url = self.job_url(id)?;
        read(self.send(|| self.http.get(url.clone())).await?).await
    }

    /// What the API shows at a path.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let url = self.url(path)?;
        read(self.send(|| self.http.get(url.clone())).await?).await
    }

    /// Has the API do something. All that operators do may be sent twice.
    pub async fn act<T: DeserializeOwned>(
        &self,
        method: &reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let url = self.url(path)?;
        let response = self.send(|| {
            let request = self.http.request(method.clone(), url.clone());
            match body {
                Some(body) => request.json(body),
                None => request,
            }
        });
        read(response.await?).await
    }

    /// Shows a job's progress until it has ended, and gives what it answered.
    pub async fn watch(&self, id: &str) -> Result<Value, Failure> {
        let mut progress = Progress::start(id, None);
        let answer = self.follow(id, &mut progress).await;
        progress.finish();
        answer
    }

    /// Watches a job to its end. A stream that breaks off is taken up again.
    async fn follow(&self, id: &str, progress: &mut Progress) -> Result<Value, Failure> {
        let url = self.job_url(id)?;
        let mut state = String::new();
        let mut pauses = Pauses::new(PAUSES.0, PAUSES.1);
        let mut fruitless = 0;
        while fruitless < ATTEMPTS {
            fruitless += 1;
            let response = self
                .send(|| {
                    self.http
                        .get(url.clone())
                        .header(ACCEPT, "text/event-stream")
                })
                .await?;
            let mut events = response.bytes_stream().eventsource();
            while let Some(Ok(event)) = events.next().await {
                fruitless = 0;
                pauses.reset();
                let job: answers::Job = serde_json::from_str(&event.data)
                    .context("cannot understand what the API says of the job")?;
                if let Some(shown) = &job.progress {
                    let JobProgress { entries, bytes } =
                        JobProgress::deserialize(shown).unwrap_or_default();
                    progress.update(entries, bytes);
                }
                if let Some(outcome) = outcome(&job) {
                    return outcome;
                }
                if job.state != state {
                    let reason = job.errors.last().filter(|_| job.state == "retrying");
                    match reason {
                        Some(error) => progress.note(&format!("retrying after: {}", error.message)),
                        None => progress.note(&job.state),
                    }
                    state = job.state;
                }
            }
            sleep(pauses.next_pause()).await;
        }
        Err(Failure::new(format!("lost sight of job {id}"))
            .hint(format!("`sluice jobs show {id}` shows its state")))
    }

    /// Sends a request until it is answered by more than "come again". An answer that says no is a
    /// failure.
    async fn send(
        &self,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<Response, Failure> {
        let mut pauses = Pauses::new(PAUSES.0, PAUSES.1);
        let mut attempt = 0;
        loop {
            let sent = request().bearer_auth(self.token.expose()).send().await;
            let failure = match sent {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let again = matches!(response.status().as_u16(), 429 | 502 | 503 | 504);
                    let failure = refusal(response).await;
                    if !again {
                        return Err(failure);
                    }
                    failure
                }
                Err(error) => Failure::new(format!(
                    "cannot reach the API at {}: {}",
                    self.api,
                    chain(&error.without_url())
                ))
                .hint("is `sluice dev` or `sluice serve` running? --api says where"),
            };
            attempt += 1;
            if attempt == ATTEMPTS {
                return Err(failure);
            }
            sleep(pauses.next_pause()).await;
        }
    }

    fn job_url(&self, id: &str) -> Result<Url, Failure> {
        let mut url = self.url("/api/v1/jobs/")?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(id);
        }
        Ok(url)
    }

    fn url(&self, path: &str) -> Result<Url, Failure> {
        self.api
            .join(path)
            .context(format!("cannot use the API's address {}", self.api))
    }
}

/// How a job ended, once it has.
fn outcome(job: &answers::Job) -> Option<Result<Value, Failure>> {
    match job.state.as_str() {
        "completed" => Some(match (&job.error, &job.result) {
            (Some(error), _) => Err(Failure::new(format!("refused: {}", reason(error)))),
            (None, Some(result)) => Ok(result.clone()),
            (None, None) => Err(Failure::new("the job ended without an answer")),
        }),
        "cancelled" => Some(Err(Failure::new("the job was cancelled"))),
        "dead" => {
            let last = job.errors.last().map(|error| error.message.as_str());
            Some(Err(Failure::new(format!(
                "the job failed for good: {}",
                last.unwrap_or("no reason is known")
            ))
            .hint("the board shows it and can retry it")))
        }
        _ => None,
    }
}

/// The token that is set, else one minted with the secret that is set, else with the data folder's.
fn token(settings: &ClientSettings, user: &str) -> Result<Secret, Failure> {
    if let Some(token) = &settings.token {
        return Ok(token.clone());
    }
    let secret = settings.secret()?;
    let token =
        mint(secret.expose(), user, &Scope::ALL, TOKEN_LIFE).context("cannot mint a token")?;
    Ok(Secret::from(token))
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, Failure> {
    response
        .json()
        .await
        .map_err(reqwest::Error::without_url)
        .context("cannot understand the API's answer")
}

/// What an answer says that is not a success.
async fn refusal(response: Response) -> Failure {
    let status = response.status();
    let body: Value = response.json().await.unwrap_or_default();
    let failure = Failure::new(format!("the API says {status}: {}", reason(&body)));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => failure
            .hint("set SLUICE_TOKEN, or --data to the folder of the `sluice dev` that is called"),
        _ => failure,
    }
}

/// `limit_exceeded`, and the message if there is one.
fn reason(body: &Value) -> String {
    match (body["error"].as_str(), body["message"].as_str()) {
        (Some(error), Some(message)) => format!("{error}: {message}"),
        (Some(error), None) => error.to_owned(),
        _ => "no reason given".to_owned(),
    }
}
