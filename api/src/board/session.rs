//! Logging in to the board.
//!
//! The cookie holds the operator's own token, which is verified anew with every request; there is no session to keep or
//! lose. It is `HttpOnly`, so scripts cannot read it; `SameSite=Strict`, and every POST must come from a page of the board, so
//! other sites cannot use it; and it goes when the token expires.

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, FromRequestParts, Query, State};
use axum::http::header::{COOKIE, HOST, ORIGIN, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::{document, error_page, now_secs};
use crate::auth::{Caller, Scope};
use crate::{ApiError, AppState};

const COOKIE_NAME: &str = "sluice_board";

/// Browsers drop a cookie of more than 4,096 bytes, name and attributes included, without a word.
const COOKIE_LIMIT: usize = 3_900;

const BOARD_PATH: &str = "/board";
const LOGIN_PATH: &str = "/board/login";

/// Somebody with a good token of scope `admin` in the cookie. Everybody else is sent to the login page, and from there back.
pub(super) struct Operator(pub Caller);

impl FromRequestParts<AppState> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let Some(token) = cookie(&parts.headers) else {
            return Err(to_login(parts, None));
        };
        match admin(state, token).await {
            Ok(caller) => Ok(Self(caller)),
            Err(ApiError::Unauthorized(_)) => Err(to_login(parts, Some(Reason::Ended))),
            Err(ApiError::Forbidden(_)) => Err(to_login(parts, Some(Reason::Scope))),
            Err(error) => Err(error_page(error)),
        }
    }
}

/// Why somebody who had logged in has to do so again.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reason {
    /// The session's token is good no more.
    Ended,
    /// It is good, but not for this.
    Scope,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Scope => "scope",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Ended => "Your session has ended. Log in again.",
            Self::Scope => "Your token does not have the scope admin. Log in with one that does.",
        }
    }
}

/// To the login page, which leads back to the page that was asked for. An action is not repeated: after one comes the overview.
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

/// A page of the board. An address elsewhere is none, so that nobody is led astray by a link to the login page.
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
            Err(error_page(ApiError::CrossOrigin))
        }
    }
}

/// `Sec-Fetch-Site` says it outright; where a browser does not send that, `Origin` must name this host. Pages can forge neither.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let origin = text(ORIGIN.as_str()).and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, authority)| Some(authority) == text(HOST.as_str()))
}

async fn admin(state: &AppState, token: &str) -> Result<Caller, ApiError> {
    let caller = state.auth.verify(token).await?;
    caller.require(Scope::Admin)?;
    Ok(caller)
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
pub(super) struct Arrival {
    next: Option<String>,
    reason: Option<Reason>,
}

pub(super) async fn login_page(arrival: Result<Query<Arrival>, QueryRejection>) -> Response {
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
            h1 { "Queue board" }
            form.card method="post" action=(LOGIN_PATH) {
                @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
                input type="hidden" name="next" value=(board_page(next));
                label for="token" { "Token with the scope " code { "admin" } }
                input #token name="token" type="password" required autocomplete="off" spellcheck="false" autofocus
                    aria-describedby="hint";
                p.quiet #hint { "The command " code { "sluice token" } " makes one for development." }
                button type="submit" { "Log in" }
            }
        }
    };
    document("Log in", content)
}

#[derive(Deserialize)]
pub(super) struct Login {
    token: String,
    next: Option<String>,
}

pub(super) async fn login(
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
    let (token, next) = (token.trim(), next.as_deref());
    if token.len() > COOKIE_LIMIT {
        let problem = format!(
            "Not logged in: the token has {} bytes, and browsers keep no more than {COOKIE_LIMIT}. Use one with fewer claims, such as groups.",
            token.len()
        );
        return (
            StatusCode::PAYLOAD_TOO_LARGE,
            login_form(next, Some(&problem)),
        )
            .into_response();
    }
    match admin(&state, token).await {
        Ok(operator) => {
            let lifetime = operator.expires_at().map_or(LONGEST_COOKIE_SECS, |at| {
                at.saturating_sub(now_secs()).min(LONGEST_COOKIE_SECS)
            });
            let cookie = set_cookie(token, lifetime, &headers);
            ([(SET_COOKIE, cookie)], Redirect::to(board_page(next))).into_response()
        }
        Err(error) => {
            let problem = format!("Not logged in: {error}.");
            (error.status(), login_form(next, Some(&problem))).into_response()
        }
    }
}

pub(super) async fn logout(_same_origin: SameOrigin, headers: HeaderMap) -> Response {
    (
        [(SET_COOKIE, set_cookie("", 0, &headers))],
        Redirect::to(LOGIN_PATH),
    )
        .into_response()
}

/// Browsers keep no cookie for longer than 400 days.
const LONGEST_COOKIE_SECS: u64 = 400 * 24 * 3600;

/// The token is base64url and dots, which a cookie holds as they are. `Secure` is left out where the browser came by plain HTTP,
/// as some would not keep such a cookie even for 127.0.0.1.
fn set_cookie(token: &str, lifetime_secs: u64, headers: &HeaderMap) -> String {
    let secure = headers
        .get(ORIGIN)
        .is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let secure = if secure { "; Secure" } else { "" };
    format!(
        "{COOKIE_NAME}={token}; Path=/board; Max-Age={lifetime_secs}; HttpOnly; SameSite=Strict{secure}"
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
