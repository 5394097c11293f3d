//! The API from a terminal: submits a request, follows its job, prints the answer.

use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_api::auth::{Identity, Scope, mint};
use sluice_client::types::JobView;
use sluice_client::{Client, ClientConfig, ClientError, Submitted};
use sluice_convex::Secret;
use sluice_jobs::Job;
use url::Url;

use crate::data_folder::DataFolder;
use crate::failure::{Context, Failure, chain};
use crate::progress::Progress;
use crate::settings::{DataSettings, DevSecretSettings};

/// The API of a `sluice serve` on this machine.
const DEFAULT_API: &str = "http://127.0.0.1:8080";

/// A minted token is for the one command; what goes on for longer mints others.
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
    client: Client,
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
        let token = token(settings, user)?;
        let config = ClientConfig::new(settings.api()?, move || token.expose().to_owned());
        let client = Client::new(config).context("cannot set up a client")?;
        Ok(Self { client })
    }

    /// Posts `job` to an operation on metadata, shows its progress and gives what it answered.
    ///
    /// A refusal, such as `limit_exceeded`, is a failure.
    pub async fn run<J: Job>(
        &self,
        operation: &str,
        label: &str,
        job: &J,
    ) -> Result<J::Answer, Failure> {
        // A request that arrived though its answer was lost is not run twice.
        let key = format!("cli-{:032x}", rand::random::<u128>());
        let submitted = self
            .client
            .submit(&["e", "meta", operation], &key, job)
            .await;
        let answer = match submitted.map_err(refusal)? {
            Submitted::Answer(answer) => answer,
            Submitted::Job(id) => {
                let mut progress = Progress::start(label, None);
                progress.note(&format!("job {id}"));
                let answer = self.follow(&id, &mut progress).await;
                progress.finish();
                answer?
            }
        };
        serde_json::from_value(answer).context("cannot understand the job's answer")
    }

    /// A job as the API shows it.
    pub async fn job(&self, id: &str) -> Result<Box<RawValue>, Failure> {
        self.client.job(id).await.map_err(refusal)
    }

    /// What the API shows at a path.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.act(&Method::GET, path, None).await
    }

    /// Has the API do something. All that operators do may be sent twice.
    pub async fn act<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        self.client.call(method, path, body).await.map_err(refusal)
    }

    /// Shows a job's progress until it has ended, and gives what it answered.
    pub async fn watch(&self, id: &str) -> Result<Value, Failure> {
        let mut progress = Progress::start(id, None);
        let answer = self.follow(id, &mut progress).await;
        progress.finish();
        answer
    }

    /// Watches a job to its end.
    async fn follow(&self, id: &str, progress: &mut Progress) -> Result<Value, Failure> {
        let mut state = String::new();
        let followed = self.client.follow(id, |job| {
            if let Some(shown) = &job.progress {
                let JobProgress { entries, bytes } =
                    JobProgress::deserialize(shown).unwrap_or_default();
                progress.update(entries, bytes);
            }
            if job.is_over() || job.state == state {
                return;
            }
            let reason = job.errors.last().filter(|_| job.state == "retrying");
            match reason {
                Some(error) => progress.note(&format!("retrying after: {}", error.message)),
                None => progress.note(&job.state),
            }
            state.clone_from(&job.state);
        });
        match followed.await {
            Ok(job) => outcome(&job),
            Err(ClientError::Socket(_)) => Err(Failure::new(format!("lost sight of job {id}"))
                .hint(format!("`sluice jobs show {id}` shows its state"))),
            Err(error) => Err(refusal(error)),
        }
    }
}

/// How a job ended.
fn outcome(job: &JobView) -> Result<Value, Failure> {
    match job.state.as_str() {
        "completed" => match (&job.error, &job.result) {
            (Some(error), _) => Err(Failure::new(format!("refused: {}", reason(error)))),
            (None, Some(result)) => Ok(result.clone()),
            (None, None) => Err(Failure::new("the job ended without an answer")),
        },
        "cancelled" => Err(Failure::new("the job was cancelled")),
        _ => {
            let last = job.errors.last().map(|error| error.message.as_str());
            Err(Failure::new(format!(
                "the job failed for good: {}",
                last.unwrap_or("no reason is known")
            ))
            .hint("the board shows it and can retry it"))
        }
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

/// Why a call has failed, and what to do about it.
pub fn refusal(error: ClientError) -> Failure {
    let failure = Failure::new(chain(&error));
    match error.status().map(|status| status.as_u16()) {
        Some(401 | 403) => failure
            .hint("set SLUICE_TOKEN, or --data to the folder of the `sluice dev` that is called"),
        _ if matches!(error, ClientError::Unreachable { .. }) => {
            failure.hint("is `sluice dev` or `sluice serve` running? --api says where")
        }
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
