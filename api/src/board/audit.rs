//! What operators did, and the buttons that undo it.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use sluice_queue::Action;

use super::parts::{grouped, moment};
use super::session::{Steering, Viewer};
use super::{Live, Page, undo_is_open};
use crate::http::query::Segment;
use crate::operators::actions;
use crate::{ApiError, AppState};

const PAGE_SIZE: usize = 50;

#[derive(Deserialize)]
pub(super) struct Place {
    cursor: Option<String>,
}

pub(super) async fn show(
    viewer: Viewer,
    State(state): State<AppState>,
    place: Result<Query<Place>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(Place { cursor }) = place.map_err(|_| ApiError::NotFound)?;
    let actions = state
        .queues
        .audited(cursor.as_deref(), PAGE_SIZE as u64)
        .await?;
    let content = html! {
        @if actions.is_empty() { div.empty { p { "No operator has done anything yet." } } }
        @else { (table(&actions, viewer.may_act())) }
        nav.pages aria-label="Pages" {
            @if cursor.is_some() { a rel="first" href="/board/audit" { "\u{2190} Latest" } }
            @if let Some(last) = actions.last().filter(|_| actions.len() == PAGE_SIZE) {
                a rel="next" href={ "/board/audit?cursor=" (last.id) } { "Older \u{2192}" }
            }
        }
    };
    Ok(Page {
        title: "Audit log",
        section: "/board/audit",
        trail: &[],
        above: html! {},
        live: Live::Refetched,
        content,
        below: html! {},
    }
    .respond(&viewer))
}

fn table(actions: &[Action], may_act: bool) -> Markup {
    html! {
        table.stack.audit {
            caption.hidden { "Actions of operators, the latest first" }
            thead { tr {
                th scope="col" { "When" }
                th scope="col" { "Who" }
                th scope="col" { "What" }
                th scope="col" { "To" }
                th.number scope="col" { "How many" }
                th scope="col" { "Outcome" }
            } }
            tbody { @for action in actions {
                tr {
                    td data-label="When" { (moment(action.at)) }
                    td data-label="Who" { span { (action.who) " " span.quiet { "by " (action.via) } } }
                    th scope="row" { (action.what) }
                    td.target data-label="To" { span { (action.target) } }
                    td.number data-label="How many" { @match action.count { Some(count) => (grouped(count)), None => span.quiet { "\u{2013}" } } }
                    td.outcome data-label="Outcome" { (outcome(action, may_act)) }
                }
            } }
        }
    }
}

fn outcome(action: &Action, may_act: bool) -> Markup {
    html! {
        @if let Some(error) = &action.error {
            span.bad { "broke off: " (error) }
        } @else if action.ended_at.is_none() {
            span.warm { "under way, or cut short" }
        } @else if action.undone_by.is_some() {
            span.quiet { "undone" }
        } @else if may_act && can_be_undone(action) {
            form method="post" action={ "/board/audit/" (action.id) "/undo" } { button.small.plain type="submit" { "Undo" } }
        } @else {
            span.good { "done" }
        }
    }
}

/// Whether there is a way back, and it is still open.
pub(super) fn can_be_undone(action: &Action) -> bool {
    let is_done = action.ended_at.is_some() && action.error.is_none();
    let is_of_jobs = action
        .undo
        .as_ref()
        .is_some_and(|undo| undo.contains("\"jobs\""));
    let has_some = action.count.unwrap_or_default() > 0;
    is_done
        && has_some
        && action.undo.is_some()
        && action.undone_by.is_none()
        && (!is_of_jobs || undo_is_open(action))
}

pub(super) async fn undo(
    Steering(actor): Steering,
    State(state): State<AppState>,
    Segment(action): Segment,
) -> Result<Response, ApiError> {
    let done = actions::undo(&state, &actor, &action).await?;
    Ok(Redirect::to(&format!("/board/audit?done={}", done.action)).into_response())
}
