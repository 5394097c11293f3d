//! The question before an action: what will be done, to how many, and the button that does it.

use axum::response::Response;
use maud::{Markup, html};

use super::session::Viewer;
use super::{Live, Page};
use crate::ApiError;
use crate::auth::Scope;

/// A question.
pub(super) struct Question<'a> {
    /// As a question.
    pub title: &'a str,
    pub section: &'a str,
    /// What follows from it.
    pub explanation: Markup,
    /// What the button says.
    pub button: &'a str,
    /// It takes something away, or stops something.
    pub is_dangerous: bool,
    /// Where it is sent to.
    pub action: &'a str,
    /// What is sent along.
    pub fields: Vec<(&'a str, String)>,
    /// Where the operator came from.
    pub back: &'a str,
}

/// Asks an operator who may act.
pub(super) fn ask(viewer: &Viewer, question: Question<'_>) -> Result<Response, ApiError> {
    if !viewer.may_act() {
        return Err(ApiError::Forbidden(Scope::Admin));
    }
    let content = html! {
        form.card.question method="post" action=(question.action) {
            div.explanation { (question.explanation) }
            @for (name, value) in &question.fields { input type="hidden" name=(name) value=(value); }
            div.actions {
                button #confirm type="submit" .danger[question.is_dangerous] autofocus[!question.is_dangerous] { (question.button) }
                a.button.plain href=(question.back) autofocus[question.is_dangerous] { "Back" }
            }
        }
    };
    Ok(Page {
        title: question.title,
        section: question.section,
        trail: &[],
        above: html! {},
        live: Live::Still,
        content,
        below: html! {},
    }
    .respond(viewer))
}
