//! What operators do to jobs: one, those that they selected, all that a filter means.

use axum::extract::{RawForm, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use sluice_queue::{JobId, Operation};

use super::confirm::{self, Question};
use super::parts::{self, grouped};
use super::session::{Steering, Viewer};
use crate::http::query::Segments;
use crate::operators::actions::{self, Which, in_words};
use crate::operators::{COUNT_LIMIT, JobParams};
use crate::{ApiError, AppState, jobs};

/// How many jobs can be selected at a time.
const SELECTED_LIMIT: usize = 100;

fn operation(name: &str) -> Result<Operation, ApiError> {
    let found = Operation::ALL.into_iter().find(|it| it.as_str() == name);
    found.ok_or(ApiError::NotFound)
}

/// What the button of an operation says.
pub(super) fn label(operation: Operation) -> &'static str {
    match operation {
        Operation::Retry => "Retry",
        Operation::Run => "Run now",
        Operation::Cancel => "Cancel",
        Operation::Delete => "Delete",
    }
}

fn explanation(operation: Operation) -> &'static str {
    match operation {
        Operation::Retry => {
            "Dead, cancelled and refused jobs go back in line, with all their attempts before them. \
             Others are left alone."
        }
        Operation::Run => "Scheduled and retrying jobs become due now. Others are left alone.",
        Operation::Cancel => {
            "Jobs that wait are cancelled, those that run are asked to stop. It can be undone for ten \
             minutes: cancelled jobs go back in line."
        }
        Operation::Delete => {
            "Jobs that do not run are removed. Those that had ended can be brought back for ten \
             minutes."
        }
    }
}

fn is_dangerous(operation: Operation) -> bool {
    matches!(operation, Operation::Cancel | Operation::Delete)
}

pub(super) async fn ask_one(
    viewer: Viewer,
    State(state): State<AppState>,
    Segments((id, name)): Segments<(String, String)>,
) -> Result<Response, ApiError> {
    let operation = operation(&name)?;
    let job = jobs::find(&state, &id).await?;
    let title = format!("{} this job?", label(operation));
    let content = html! {
        p { a href={ "/board/jobs/" (job.id) } { code { (job.id) } } " " (parts::state(job.state)) }
        p.quiet { (explanation(operation)) }
    };
    confirm::ask(
        &viewer,
        Question {
            title: &title,
            section: "/board/jobs",
            explanation: content,
            button: label(operation),
            is_dangerous: is_dangerous(operation),
            action: &format!("/board/jobs/{}/{name}", job.id),
            fields: Vec::new(),
            back: &format!("/board/jobs/{}", job.id),
        },
    )
}

/// Afterwards the page of a job that was deleted is gone: its queue's jobs are shown instead.
pub(super) async fn act_on_one(
    Steering(actor): Steering,
    State(state): State<AppState>,
    Segments((id, name)): Segments<(String, String)>,
) -> Result<Response, ApiError> {
    let operation = operation(&name)?;
    let job = jobs::find(&state, &id).await?;
    let done = actions::on_job(&state, &actor, operation, &job.id).await?;
    let address = match operation {
        Operation::Delete => format!("/board/jobs?queue={}&done={}", job.queue, done.action),
        _ => format!("/board/jobs/{}?done={}", job.id, done.action),
    };
    Ok(Redirect::to(&address).into_response())
}

/// An operation and its jobs, as a form sends them: those that are selected, or with `scope=all` all
/// that the filter means.
struct Selection {
    operation: Operation,
    is_all: bool,
    ids: Vec<JobId>,
    filter: JobParams,
}

impl Selection {
    /// What the query of an address, or a form, says. Each box that is ticked sends an `id`.
    fn read(RawForm(form): &RawForm) -> Result<Self, ApiError> {
        let mut operation = None;
        let (mut is_all, mut ids, mut filter) = (false, Vec::new(), JobParams::default());
        for (name, value) in form_urlencoded::parse(form) {
            let text = Some(value.to_string()).filter(|it| !it.is_empty());
            match &*name {
                "operation" => operation = Some(self::operation(&value)?),
                "scope" => is_all = value == "all",
                "id" => ids.push(JobId::parse(&value).map_err(|_| ApiError::NotFound)?),
                "queue" => filter.queue = text,
                "state" => {
                    let state = text.map(|it| it.parse()).transpose();
                    filter.state = state.map_err(|_| ApiError::NotFound)?;
                }
                "user" => filter.user = text,
                "error" => filter.error = text,
                "text" => filter.text = text,
                _ => {}
            }
        }
        let operation = operation.ok_or(ApiError::NotFound)?;
        Ok(Self {
            operation,
            is_all,
            ids,
            filter,
        })
    }

    fn which(&self) -> Result<Which, ApiError> {
        let invalid = |rule: &str| Err(ApiError::InvalidRequest(rule.to_owned()));
        if self.is_all {
            return Ok(Which::All(self.filter.query()?));
        }
        match self.ids.len() {
            0 => invalid("no job is selected"),
            1..=SELECTED_LIMIT => Ok(Which::These(self.ids.clone())),
            _ => invalid("too many jobs are selected"),
        }
    }
}

pub(super) async fn ask_many(
    viewer: Viewer,
    State(state): State<AppState>,
    form: RawForm,
) -> Result<Response, ApiError> {
    let selection = Selection::read(&form)?;
    let (operation, which) = (selection.operation, selection.which()?);
    let (count, words) = match &which {
        Which::These(ids) => (
            grouped(ids.len() as u64),
            "those that you selected".to_owned(),
        ),
        Which::All(query) => {
            let counted = state.queues.count(query, COUNT_LIMIT).await?;
            let at_least = if counted.at_least { "at least " } else { "" };
            (
                format!("{at_least}{}", grouped(counted.jobs)),
                in_words(query),
            )
        }
    };
    let noun = if count == "1" { "job" } else { "jobs" };
    let title = format!("{} {count} {noun}?", label(operation));
    let content = html! {
        p { strong { (count) " " (noun) } ": " (words) "." }
        @if let Which::These(ids) = &which {
            ul.ids { @for id in ids { li { code { (id) } } } }
        }
        p.quiet { (explanation(operation)) }
    };
    let mut fields = selection.filter.pairs();
    fields.push(("operation", operation.as_str().to_owned()));
    if selection.is_all {
        fields.push(("scope", "all".to_owned()));
    }
    fields.extend(selection.ids.iter().map(|id| ("id", id.to_string())));
    confirm::ask(
        &viewer,
        Question {
            title: &title,
            section: "/board/jobs",
            explanation: content,
            button: &format!("{} {count} {noun}", label(operation)),
            is_dangerous: is_dangerous(operation),
            action: "/board/jobs/act",
            fields,
            back: &format!("/board/jobs?{}", selection.filter.to_query()),
        },
    )
}

pub(super) async fn act_on_many(
    Steering(actor): Steering,
    State(state): State<AppState>,
    form: RawForm,
) -> Result<Response, ApiError> {
    let selection = Selection::read(&form)?;
    let done = actions::on_jobs(&state, &actor, selection.operation, &selection.which()?).await?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(selection.filter.pairs());
    query.append_pair("done", &done.action);
    if done.key_taken > 0 {
        query.append_pair("taken", &done.key_taken.to_string());
    }
    Ok(Redirect::to(&format!("/board/jobs?{}", query.finish())).into_response())
}
