//! How requests are sent: limits of time, repetition, and the token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use sluice_retry::Pauses;
use url::Url;

use crate::error::{ClientError, Refusal, comes_again};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A connection on which nothing comes in for so long is given up.
const SILENCE_LIMIT: Duration = Duration::from_secs(45);
/// A request without a content.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// The wait after the first attempt, which doubles from one to the next, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(12));
const ATTEMPTS: u32 = 5;

/// Gives the token for a request.
type TokenSource = Arc<dyn Fn() -> String + Send + Sync>;

/// Where the API is, who calls it, and how patiently.
#[derive(Clone)]
pub struct ClientConfig {
    /// The API's address.
    pub api: Url,
    /// Gives the token, at each request anew, so that it may renew it.
    pub token: TokenSource,
    /// How often a request is sent that gets no answer, or the answer to come again.
    pub attempts: u32,
}

impl ClientConfig {
    /// With the usual patience.
    pub fn new(api: Url, token: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self {
            api,
            token: Arc::new(token),
            attempts: ATTEMPTS,
        }
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is secret.
        f.debug_struct("ClientConfig")
            .field("api", &self.api.as_str())
            .finish_non_exhaustive()
    }
}

/// A caller of the API.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    config: Arc<ClientConfig>,
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// [`ClientError::Config`] when there is no TLS on this machine, or the address is not one of
    /// HTTP.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        if config.api.cannot_be_a_base() {
            return Err(ClientError::Config(format!(
                "{} is no address of HTTP",
                config.api
            )));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(SILENCE_LIMIT)
            .build()
            .map_err(|error| ClientError::Config(error.to_string()))?;
        let config = Arc::new(config);
        Ok(Self { http, config })
    }

    /// The API's address.
    pub fn api(&self) -> &Url {
        &self.config.api
    }

    pub(crate) fn token(&self) -> String {
        (self.config.token)()
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.config.attempts
    }

    /// The address of a path, whose segments are escaped as they have to be.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.config.api.clone();
        url.set_query(None);
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(segments);
        }
        url
    }

    /// A request to a path, limited in time.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.request_to(method, self.url(segments))
    }

    /// A request to an address, limited in time.
    pub(crate) fn request_to(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url).timeout(REQUEST_LIMIT)
    }

    /// Sends a request once.
    pub(crate) async fn attempt(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let sent = request.bearer_auth(self.token()).send().await;
        let response = sent.map_err(|error| self.unreachable(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(ClientError::Refused(Box::new(refusal(response).await)))
    }

    /// Sends a request until it is answered by more than "come again".
    pub(crate) async fn send(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, ClientError> {
        let mut waiting = Waiting::new(self.attempts());
        loop {
            match self.attempt(request()).await {
                Ok(response) => return Ok(response),
                Err(error) => waiting.before_next(error).await?,
            }
        }
    }

    /// As [`Client::send`], and reads the answer, which may break off, too.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<T, ClientError> {
        let mut waiting = Waiting::new(self.attempts());
        loop {
            let error = match self.attempt(request()).await {
                Ok(response) => match response.bytes().await {
                    Ok(body) => return parse(&body),
                    Err(error) => self.unreachable(error),
                },
                Err(error) => error,
            };
            waiting.before_next(error).await?;
        }
    }

    pub(crate) fn unreachable(&self, error: reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            api: self.config.api.to_string(),
            source: error.without_url(),
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::Answer(error.to_string()))
}

/// The waits between the attempts of one call.
pub(crate) struct Waiting {
    pauses: Pauses,
    left: u32,
    attempts: u32,
}

impl Waiting {
    pub(crate) fn new(attempts: u32) -> Self {
        Self {
            pauses: Pauses::new(PAUSES.0, PAUSES.1),
            left: attempts.saturating_sub(1),
            attempts,
        }
    }

    /// The last attempt has come further than the one before.
    pub(crate) fn progressed(&mut self) {
        self.left = self.attempts.saturating_sub(1);
        self.pauses.reset();
    }

    /// Waits before another attempt; gives the error back when there is to be none.
    pub(crate) async fn before_next(&mut self, error: ClientError) -> Result<(), ClientError> {
        if self.left == 0 || !error.is_transient() {
            return Err(error);
        }
        self.left -= 1;
        let asked = match &error {
            ClientError::Refused(refusal) => refusal.retry_after,
            _ => None,
        };
        let pause = self.pauses.next_pause();
        tokio::time::sleep(asked.unwrap_or_default().min(PAUSES.1).max(pause)).await;
        Ok(())
    }
}

/// What an answer says that is not a success.
async fn refusal(response: Response) -> Refusal {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER);
    let after = after.and_then(|it| it.to_str().ok()?.parse().ok());
    let after = after.filter(|_| comes_again(status));
    let body = response.bytes().await.unwrap_or_default();
    let mut refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
    refusal.status = status;
    refusal.retry_after = after.map(Duration::from_secs);
    refusal
}
