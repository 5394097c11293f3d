//! Logging in to the board.
//!
//! An operator shows a token of scope `admin`, or `admin:read` to look alone, once. It is verified and forgotten: what stays is a
//! session in Valkey, which ends with the token, or after [`LONGEST_SECS`], or when the operator
//! logs out, and then at once for whoever has the cookie. The cookie holds the session's id. It is
//! `HttpOnly`, so scripts cannot read it; `SameSite=Strict`, and every POST must come from a page
//! of the board, so other sites cannot use it.

use std::time::Duration;

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Form, FromRequestParts, Query, State};
use axum::http::header::{COOKIE, HOST, ORIGIN, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get};
use maud::html;
use serde::Deserialize;
use sluice_queue::Action;
use sluice_store::board::Session;

use super::document;
use super::parts::now_ms;
use crate::auth::{Scope, passed};
use crate::http::problem::Problem;
use crate::operators::actions::Actor;
use crate::{ApiError, AppState};

const COOKIE_NAME: &str = "sluice_board";
const BOARD_PATH: &str = "/board";
const LOGIN_PATH: &str = "/board/login";

/// A session ends by then, however long its token is good: one whose key the issuer has withdrawn
/// does not stay for ever.
const LONGEST_SECS: u64 = 24 * 3600;

/// Room for the form around any token that a request's head could carry, in bytes.
const LOGIN_LIMIT: usize = 512 * 1024;

/// How often a stream looks whether its session is still there.
const LOOK_AT_SESSION: Duration = Duration::from_secs(1);

/// An operator who is logged in. Everyone else is sent to the login page, and from there back.
pub(super) struct Operator {
    id: String,
    session: Session,
}

impl FromRequestParts<AppState> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let Some(id) = cookie(&parts.headers) else {
            return Err(to_login(parts, None));
        };
        let found = state.sessions.find(id).await;
        let found = found.map_err(|error| ApiError::from(error).into_response())?;
        match found.filter(|session| session.expires_at > now_ms() / 1000) {
            Some(session) => Ok(Self {
                id: id.to_owned(),
                session,
            }),
            None => Err(to_login(parts, Some(Reason::Ended))),
        }
    }
}

/// An operator who looks at a page, and what came of the action that led there.
pub(super) struct Viewer {
    operator: Operator,
    /// The action that the address names as `done`.
    pub notice: Option<Action>,
}

impl FromRequestParts<AppState> for Viewer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let operator = Operator::from_request_parts(parts, state).await?;
        let query = parts.uri.query().unwrap_or_default();
        let done = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "done");
        let notice = match done {
            // Without it the page is good all the same.
            Some((_, id)) => state.queues.action(&id).await.unwrap_or_default(),
            None => None,
        };
        Ok(Self { operator, notice })
    }
}

impl Viewer {
    /// Who that is, for the page.
    pub(super) fn who(&self) -> &str {
        self.operator.subject().unwrap_or("operator")
    }

    /// Whether it is more than looking.
    pub(super) fn may_act(&self) -> bool {
        self.operator.may_act()
    }
}

/// An operator who acts: one who may, by a form of the board.
pub(super) struct Steering(pub Actor);

impl FromRequestParts<AppState> for Steering {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        SameOrigin::from_request_parts(parts, state)
            .await
            .map_err(IntoResponse::into_response)?;
        let operator = Operator::from_request_parts(parts, state).await?;
        if !operator.may_act() {
            return Err(ApiError::Forbidden(Scope::Admin).into_response());
        }
        Ok(Self(Actor::new(operator.subject(), "board")))
    }
}

impl Operator {
    /// Who that is, as the token had it.
    pub(super) fn subject(&self) -> Option<&str> {
        self.session.subject.as_deref()
    }

    /// Whether it is more than looking.
    pub(super) fn may_act(&self) -> bool {
        !self.session.read_only
    }

    /// Returns once the session is over.
    pub(super) fn gone(&self, state: &AppState) -> impl Future<Output = ()> + Send + use<> {
        let (sessions, id) = (state.sessions.clone(), self.id.clone());
        let expired = passed(self.session.expires_at);
        let closed = async move {
            // Whether it is while Valkey does not answer, nobody knows.
            while !matches!(sessions.find(&id).await, Ok(None)) {
                tokio::time::sleep(LOOK_AT_SESSION).await;
            }
        };
        async move {
            tokio::select! {
                () = expired => {}
                () = closed => {}
            }
        }
    }
}

/// Why an operator who had logged in has to do so again.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reason {
    /// The session is over.
    Ended,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Ended => "Your session has ended. Log in again.",
        }
    }
}

/// To the login page, which leads back to the page that was asked for. An action is not repeated:
/// after one comes the overview.
fn to_login(parts: &Parts, reason: Option<Reason>) -> Response {
    let next = match parts.method {
        Method::GET => parts
            .uri
            .path_and_query()
            .map_or(BOARD_PATH, |it| it.as_str()),
        _ => BOARD_PATH,
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("next", next);
    if let Some(reason) = reason {
        query.append_pair("reason", reason.as_str());
    }
    Redirect::to(&format!("{LOGIN_PATH}?{}", query.finish())).into_response()
}

/// A page of the board. An address elsewhere is none, so that nobody is led astray by a link to the
/// login page.
fn board_page(next: Option<&str>) -> &str {
    next.filter(|next| {
        let rest = next.strip_prefix(BOARD_PATH);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            && !next.chars().any(|it| it.is_control() || it == '\\')
    })
    .unwrap_or(BOARD_PATH)
}

/// The request comes from a page of the board itself, which every action must.
pub(super) struct SameOrigin;

impl<S: Sync> FromRequestParts<S> for SameOrigin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        debug_assert_eq!(parts.method, Method::POST);
        if is_same_origin(&parts.headers) {
            Ok(Self)
        } else {
            let message = "this request does not come from a page of the board";
            Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message).into_response())
        }
    }
}

/// `Sec-Fetch-Site` says it outright; where a browser does not send that, `Origin` must name this
/// host. Pages can forge neither.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let origin = text(ORIGIN.as_str()).and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, authority)| Some(authority) == text(HOST.as_str()))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}

/// Where the login page leads to, and why it is shown.
#[derive(Deserialize)]
struct Arrival {
    next: Option<String>,
    reason: Option<Reason>,
}

async fn login_page(arrival: Result<Query<Arrival>, QueryRejection>) -> Response {
    match &arrival {
        Ok(Query(Arrival { next, reason })) => {
            login_form(next.as_deref(), reason.map(Reason::text))
        }
        Err(_) => login_form(None, None),
    }
}

fn login_form(next: Option<&str>, problem: Option<&str>) -> Response {
    let content = html! {
        main.narrow {
            h1 { "Sluice" }
            p.quiet { "Queues, jobs, workers and schedules." }
            form.card method="post" action=(LOGIN_PATH) {
                @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
                input type="hidden" name="next" value=(board_page(next));
                label for="token" { "Token with the scope " code { "admin" } " or " code { "admin:read" } }
                input #token name="token" type="password" required autocomplete="off" spellcheck="false" autofocus
                    aria-describedby="hint";
                p.quiet #hint { "The command " code { "sluice token" } " makes one for development." }
                button type="submit" { "Log in" }
            }
        }
    };
    document("Log in", &content)
}

/// The login page and what it sends.
pub(super) fn login_routes() -> MethodRouter<AppState> {
    let login = axum::routing::post(login).layer(DefaultBodyLimit::max(LOGIN_LIMIT));
    get(login_page).merge(login)
}

#[derive(Deserialize)]
struct Login {
    token: String,
    next: Option<String>,
}

async fn login(
    State(state): State<AppState>,
    _same_origin: SameOrigin,
    headers: HeaderMap,
    form: Result<Form<Login>, FormRejection>,
) -> Response {
    let Ok(Form(Login { token, next })) = form else {
        return (
            StatusCode::BAD_REQUEST,
            login_form(None, Some("The token is missing.")),
        )
            .into_response();
    };
    match begin(&state, token.trim(), cookie(&headers)).await {
        Ok((id, lifetime_secs)) => {
            let cookie = set_cookie(&id, lifetime_secs, &headers);
            let next = board_page(next.as_deref());
            ([(SET_COOKIE, cookie)], Redirect::to(next)).into_response()
        }
        Err(error) => {
            let problem = format!("Not logged in: {error}.");
            (error.status(), login_form(next.as_deref(), Some(&problem))).into_response()
        }
    }
}

/// A session for the holder of `token`, instead of the `former` one of this browser: its id, and
/// its lifetime in seconds.
async fn begin(
    state: &AppState,
    token: &str,
    former: Option<&str>,
) -> Result<(String, u64), ApiError> {
    let caller = state.auth.verify(token).await?;
    if !caller.has(&Scope::AdminRead) {
        caller.require(Scope::Admin)?;
    }
    let (now, expires_at) = (now_ms() / 1000, caller.expires_at());
    let lifetime_secs = expires_at.map_or(LONGEST_SECS, |at| at.saturating_sub(now));
    let lifetime_secs = lifetime_secs.min(LONGEST_SECS);
    if lifetime_secs == 0 {
        return Err(ApiError::Unauthorized("the token has expired"));
    }
    if let Some(former) = former {
        state.sessions.close(former).await?;
    }
    let session = Session {
        subject: caller.subject().map(str::to_owned),
        expires_at: now + lifetime_secs,
        read_only: !caller.has(&Scope::Admin),
    };
    let lifetime = Duration::from_secs(lifetime_secs);
    let id = state.sessions.open(&session, lifetime).await?;
    Ok((id, lifetime_secs))
}

pub(super) async fn logout(
    State(state): State<AppState>,
    _same_origin: SameOrigin,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if let Some(id) = cookie(&headers) {
        state.sessions.close(id).await?;
    }
    let cookie = [(SET_COOKIE, set_cookie("", 0, &headers))];
    Ok((cookie, Redirect::to(LOGIN_PATH)).into_response())
}

/// `Secure` is left out where the browser came by plain HTTP, as some would not keep such a cookie
/// even for 127.0.0.1.
fn set_cookie(id: &str, lifetime_secs: u64, headers: &HeaderMap) -> String {
    let secure = headers
        .get(ORIGIN)
        .is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let secure = if secure { "; Secure" } else { "" };
    format!(
        "{COOKIE_NAME}={id}; Path=/board; Max-Age={lifetime_secs}; HttpOnly; SameSite=Strict{secure}"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_post_from_the_board_is_told_from_one_of_another_site() {
        let host = ("host", "127.0.0.1:8080");
        let same = [
            &[host, ("origin", "http://127.0.0.1:8080")][..],
            &[
                host,
                ("origin", "http://elsewhere"),
                ("sec-fetch-site", "same-origin"),
            ],
        ];
        let other = [
            &[host][..],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://127.0.0.1:8081")],
            &[host, ("origin", "http://127.0.0.1:8080.evil.example")],
            &[
                host,
                ("origin", "http://127.0.0.1:8080"),
                ("sec-fetch-site", "same-site"),
            ],
            &[
                host,
                ("origin", "http://127.0.0.1:8080"),
                ("sec-fetch-site", "cross-site"),
            ],
        ];
        for pairs in same {
            assert!(is_same_origin(&headers(pairs)), "{pairs:?}");
        }
        for pairs in other {
            assert!(!is_same_origin(&headers(pairs)), "{pairs:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let headers = headers(&[("cookie", "a=b; sluice_board=x.y-z_; sluice_board_2=n")]);
        assert_eq!(cookie(&headers), Some("x.y-z_"));
    }

    #[test]
    fn the_cookie_is_secure_where_the_page_is() {
        let secure = set_cookie("t", 60, &headers(&[("origin", "https://sluice.example")]));
        assert!(
            secure.ends_with("; Max-Age=60; HttpOnly; SameSite=Strict; Secure"),
            "{secure}"
        );
        let plain = set_cookie("t", 60, &headers(&[("origin", "http://127.0.0.1:8080")]));
        assert!(!plain.contains("Secure"), "{plain}");
    }
}
