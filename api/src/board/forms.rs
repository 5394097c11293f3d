//! How a queue is steered now, and the forms to change it.

use maud::{Markup, html};
use serde_json::Value;
use sluice_queue::{QueueStats, Rate, State as JobState};

use super::moment;
use super::steering::Operation;

/// How the queue is steered now.
pub(super) fn settings(queue: &QueueStats) -> Markup {
    let facts = [
        ("Limit", queue.limit.map(|it| it.to_string())),
        ("Limit per user", queue.user_limit.map(|it| it.to_string())),
        ("Rate", queue.rate.map(|it| it.to_string())),
        ("Rate per user", queue.user_rate.map(|it| it.to_string())),
    ];
    html! {
        @if let Some(at) = queue.paused_at {
            p.problem role="status" { "Paused since " (moment(at)) "." }
        }
        @if facts.iter().any(|(_, set)| set.is_some()) {
            dl.facts { @for (name, set) in &facts { @if let Some(set) = set { div { dt { (name) } dd { (set) } } } } }
        }
    }
}

/// What was done to many jobs.
pub(super) fn done(operation: Operation, count: u64, taken: u64) -> Markup {
    let what = match operation {
        Operation::Retry => "put back in line",
        Operation::Cancel => "cancelled, or asked to stop",
        Operation::Delete => "deleted",
    };
    html! {
        p role="status" {
            (count) " jobs were " (what) "."
            @if taken > 0 { " " (taken) " were left alone because other jobs have their unique keys by now." }
        }
    }
}

/// The forms below a queue. They stand outside of what is kept fresh, so that nothing that is typed
/// gets lost.
pub(super) fn all(queue: &QueueStats, shown: JobState) -> Markup {
    let address = format!("/board/queues/{}", queue.name);
    html! {
        details.card {
            summary { "Steer this queue" }
            div.actions {
                form method="post" action={ (address) "/pause" } { button #pause type="submit" { "Pause" } }
                form method="post" action={ (address) "/resume" } { button #resume type="submit" { "Resume" } }
            }
            (bulk_form(&address, shown))
            (limits_form(&address, queue))
            (rates_form(&address, queue))
        }
    }
}

fn bulk_form(address: &str, shown: JobState) -> Markup {
    html! {
        h2 { "Many jobs" }
        form.fields #bulk method="post" action={ (address) "/jobs" } {
            (select("operation", "What to do", &["retry", "cancel", "delete"], "retry"))
            (select("state", "To jobs that are", &JobState::ALL.map(JobState::as_str), shown.as_str()))
            (field("user", "Of the user (any)", ""))
            (field("error", "With an error that contains (any)", ""))
            button type="submit" { "Do it" }
        }
    }
}

fn limits_form(address: &str, queue: &QueueStats) -> Markup {
    let text = |limit: Option<u64>| limit.map_or_else(String::new, |it| it.to_string());
    html! {
        h2 { "Limits" }
        form.fields #limits method="post" action={ (address) "/limits" } {
            (field("all", "Jobs that run at a time (no limit)", &text(queue.limit)))
            (field("per_user", "Of each user (no limit)", &text(queue.user_limit)))
            button type="submit" { "Set limits" }
        }
    }
}

fn rates_form(address: &str, queue: &QueueStats) -> Markup {
    html! {
        h2 { "Rates" }
        form.fields #rates method="post" action={ (address) "/rates" } {
            (rate_fields("all", "All jobs", queue.rate))
            (rate_fields("user", "Each user's jobs", queue.user_rate))
            button type="submit" { "Set rates" }
        }
    }
}

fn rate_fields(name: &str, legend: &str, rate: Option<Rate>) -> Markup {
    let set = serde_json::to_value(rate).unwrap_or_default();
    let text = |value: &Value| value.as_u64().map_or_else(String::new, |it| it.to_string());
    let seconds = set["per_ms"]
        .as_f64()
        .map_or_else(String::new, |ms| (ms / 1000.0).to_string());
    let kinds = ["none", "fixed", "sliding", "bucket"];
    let id = |field: &str| format!("{name}_{field}");
    html! {
        fieldset.fields {
            legend { (legend) }
            (select(&id("kind"), "Window", &kinds, set["kind"].as_str().unwrap_or("none")))
            (field(&id("starts"), "Starts", &text(&set["starts"])))
            (field(&id("seconds"), "In seconds", &seconds))
            (field(&id("burst"), "At once (bucket)", &text(&set["burst"])))
        }
    }
}

fn field(name: &str, label: &str, value: &str) -> Markup {
    html! { div { label for=(name) { (label) } input id=(name) name=(name) value=(value) autocomplete="off"; } }
}

fn select(name: &str, label: &str, choices: &[&str], chosen: &str) -> Markup {
    html! {
        div {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                @for choice in choices { option value=(choice) selected[*choice == chosen] { (choice) } }
            }
        }
    }
}
