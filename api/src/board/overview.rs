//! The first page: what needs a hand, what the queues do, how the other parts are doing.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use futures_util::future::try_join_all;
use maud::{Markup, html};
use serde::Deserialize;
use sluice_jobs::schedules;
use sluice_queue::{History, Period, ProcessView, QueueError, QueueStats, State as JobState};

use super::health::Health;
use super::parts::{count, grouped, lasting, nothing, span};
use super::session::Viewer;
use super::{Live, Page, chart};
use crate::{ApiError, AppState};

/// A job that has waited for so long is worth a look.
const LONG_WAIT_MS: u64 = 60_000;

#[derive(Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    pub period: Period,
}

pub(super) async fn show(
    viewer: Viewer,
    State(state): State<AppState>,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(Choice { period }) = choice.map_err(|_| ApiError::NotFound)?;
    let queues = state.queues.queues().await?;
    let histories = queues.iter().map(|queue| history(&state, queue, period));
    let histories = try_join_all(histories).await?;
    let (processes, health) = (state.queues.processes().await?, Health::read(&state).await?);
    let schedules = schedules::all(&state.queues).await?;
    let together = History::sum(histories.iter().cloned());
    let content = html! {
        (needs_a_hand(&queues, &processes, &health, viewer.may_act()))
        (tiles(&queues, &processes))
        @if let Some(together) = &together { (charts("/board", together)) }
        (table(&queues, &histories))
        (health.cards(&schedules))
    };
    Ok(Page {
        title: "Overview",
        section: "/board",
        trail: &[],
        above: html! {},
        live: Live::Refetched,
        content,
        below: html! {},
    }
    .respond(&viewer))
}

/// What a queue did; of one whose counts are damaged, nothing.
pub(super) async fn history(
    state: &AppState,
    queue: &QueueStats,
    period: Period,
) -> Result<History, QueueError> {
    state.queues.history(&queue.name, period).await
}

/// The charts of one queue, or of all together, and the links to the other period.
pub(super) fn charts(address: &str, history: &History) -> Markup {
    let throughput = [
        chart::Series {
            name: "completed",
            class: "good",
            value: |it| Some(it.completed).filter(|&it| it > 0),
        },
        chart::Series {
            name: "refused",
            class: "wait",
            value: |it| Some(it.refused).filter(|&it| it > 0),
        },
    ];
    let failures = [
        chart::Series {
            name: "dead",
            class: "bad",
            value: |it| Some(it.dead).filter(|&it| it > 0),
        },
        chart::Series {
            name: "failed runs",
            class: "warm",
            value: |it| Some(it.failed).filter(|&it| it > 0),
        },
    ];
    let latency = [
        chart::Series {
            name: "wait p95",
            class: "wait",
            value: |it| it.wait.quantile(0.95),
        },
        chart::Series {
            name: "run p95",
            class: "busy",
            value: |it| it.run.quantile(0.95),
        },
        chart::Series {
            name: "run p50",
            class: "soft",
            value: |it| it.run.quantile(0.5),
        },
    ];
    html! {
        section aria-labelledby="over-time" {
            div.row {
                h2 #over-time { "Over time" }
                nav.switch aria-label="Period" {
                    @for period in Period::ALL {
                        a href={ (address) "?period=" (period.as_str()) } aria-current=[(period == history.period).then_some("true")] {
                            "Last " (period.as_str())
                        }
                    }
                }
            }
            div.charts {
                (chart::bars("Throughput", history, &throughput))
                (chart::bars("Failures", history, &failures))
                (chart::lines("Latency", history, &latency))
            }
        }
    }
}

/// What an operator who was woken has to see first, each with the button that leads on.
fn needs_a_hand(
    queues: &[QueueStats],
    processes: &[ProcessView],
    health: &Health,
    may_act: bool,
) -> Markup {
    let waiting: u64 = queues.iter().map(|queue| queue.available).sum();
    let nobody = processes.is_empty() && queues.iter().all(|queue| queue.workers == 0);
    let mut items = Vec::new();
    if nobody && waiting > 0 {
        items.push(html! {
            li.bad { p { strong { "No worker runs" } " and " (grouped(waiting)) " jobs wait." } a.button.small.plain href="/board/workers" { "Workers" } }
        });
    }
    for queue in queues {
        let address = format!("/board/queues/{}", queue.name);
        if let Some(damage) = &queue.damage {
            items.push(html! { li.bad { p { a href=(address) { strong { (queue.name) } } " is damaged: " (damage) } } });
        }
        if let Some(at) = queue.paused_at {
            items.push(html! {
                li.warm {
                    p { a href=(address) { strong { (queue.name) } } " is paused for " (lasting(at)) "; " (grouped(queue.available)) " jobs wait." }
                    @if may_act { a.button.small href={ (address) "/resume" } { "Resume" } }
                }
            });
        }
        let stands = queue
            .oldest_waiting_ms
            .filter(|&ms| ms > LONG_WAIT_MS && queue.paused_at.is_none());
        if let Some(ms) = stands {
            let why = match (queue.workers, queue.limit) {
                (0, _) => " No worker serves it.",
                (_, Some(_)) if queue.running > 0 => " It has a limit.",
                _ if queue.rate.is_some() => " It has a rate.",
                _ => "",
            };
            items.push(html! {
                li.warm {
                    p { a href=(address) { strong { (queue.name) } } ": a job has waited for " (span(ms)) "." (why) }
                    a.button.small.plain href={ "/board/jobs?queue=" (queue.name) "&state=available" } { "See them" }
                }
            });
        }
        if queue.dead > 0 {
            let query = format!("queue={}&state=dead", queue.name);
            items.push(html! {
                li.bad {
                    p { a href=(address) { strong { (queue.name) } } " has " (grouped(queue.dead)) @if queue.dead == 1 { " dead job." } @else { " dead jobs." } }
                    span.actions {
                        a.button.small.plain href={ "/board/jobs?" (query) } { "See why" }
                        @if may_act { a.button.small href={ "/board/jobs/act?scope=all&operation=retry&" (query) } { "Retry all" } }
                    }
                }
            });
        }
    }
    if !health.tail_is_well() {
        let trouble = health
            .tail
            .health
            .as_ref()
            .and_then(|it| it.trouble.as_ref());
        items.push(html! {
            li.warm {
                p { strong { "Changes in Convex" } ": " (health.tail.state().as_str()) @if let Some(trouble) = trouble { ", " (trouble) } "." }
                a.button.small.plain href="#tail" { "See why" }
            }
        });
    }
    html! {
        section.hand aria-labelledby="hand" {
            h2.hidden #hand { "What needs a hand" }
            @if items.is_empty() {
                p.well { span.light.good { "ok" } " Nothing needs a hand." }
            } @else {
                ul { @for item in &items { (item) } }
            }
        }
    }
}

fn tiles(queues: &[QueueStats], processes: &[ProcessView]) -> Markup {
    let states = [
        JobState::Available,
        JobState::Running,
        JobState::Scheduled,
        JobState::Retrying,
        JobState::Dead,
    ];
    let running: u64 = processes.iter().map(|it| it.running).sum();
    html! {
        div.tiles {
            @for state in states {
                @let depth: u64 = queues.iter().map(|queue| queue.depth(state)).sum();
                a.tile.(state.as_str()) .none[depth == 0] href={ "/board/jobs?state=" (state.as_str()) } {
                    span.name { (state.as_str()) } strong { (grouped(depth)) }
                }
            }
            a.tile href="/board/workers" {
                span.name { "workers" } strong { (processes.len()) }
                span.quiet { (grouped(running)) " jobs run" }
            }
        }
    }
}

fn table(queues: &[QueueStats], histories: &[History]) -> Markup {
    html! {
        section aria-labelledby="queues" {
            h2 #queues { "Queues" }
            @if queues.is_empty() {
                div.empty { p { "No job has been enqueued yet." } }
            } @else {
                table.stack.queues {
                    caption.hidden { "Queues with their jobs by state" }
                    thead { tr {
                        th scope="col" { "Queue" }
                        th.number scope="col" { "Waiting" }
                        th.number scope="col" { "Running" }
                        th.number scope="col" { "Retrying" }
                        th.number scope="col" { "Dead" }
                        th.number scope="col" { "Oldest waits" }
                        th.number scope="col" { "Ended" }
                        th.number scope="col" { "Failed" }
                        th scope="col" { "Bounds" }
                        th.number scope="col" { "Workers" }
                    } }
                    tbody { @for (queue, history) in queues.iter().zip(histories) { (row(queue, history)) } }
                }
            }
        }
    }
}

fn row(queue: &QueueStats, history: &History) -> Markup {
    let total = history.total();
    let waiting = queue.waiting + queue.scheduled + queue.available;
    let list = |state: &str| format!("/board/jobs?queue={}&state={state}", queue.name);
    let is_bounded = queue.limit.is_some()
        || queue.user_limit.is_some()
        || queue.rate.is_some()
        || queue.user_rate.is_some();
    html! {
        tr {
            th scope="row" {
                a href={ "/board/queues/" (queue.name) } { (queue.name) }
                @if let Some(damage) = &queue.damage { " " span.tag.bad title=(damage) { "damaged" } }
                @if queue.paused_at.is_some() { " " span.tag.warm { "paused" } }
            }
            td.number .zero[waiting == 0] data-label="Waiting" { (count(waiting, "wait", &list("available"))) }
            td.number .zero[queue.running == 0] data-label="Running" { (count(queue.running, "busy", &list("running"))) }
            td.number .zero[queue.retrying == 0] data-label="Retrying" { (count(queue.retrying, "warm", &list("retrying"))) }
            td.number .zero[queue.dead == 0] data-label="Dead" { (count(queue.dead, "bad", &list("dead"))) }
            td.number .zero[queue.oldest_waiting_ms.is_none()] data-label="Oldest waits" {
                @match queue.oldest_waiting_ms { Some(ms) => (span(ms)), None => (nothing()) }
            }
            td.number .zero[total.ended() == 0] data-label={ "Ended, last " (history.period.as_str()) } { (grouped(total.ended())) }
            td.number .zero[total.failed == 0] data-label={ "Failed, last " (history.period.as_str()) } {
                @if total.failed > 0 { span.bad { (grouped(total.failed)) } } @else { span.quiet { "0" } }
            }
            td .zero[!is_bounded] data-label="Bounds" { (bounds(queue)) }
            td.number .zero[queue.workers > 0] data-label="Workers" { @if queue.workers == 0 { span.bad { "none" } } @else { (queue.workers) } }
        }
    }
}

/// What bounds a queue, in few words.
fn bounds(queue: &QueueStats) -> Markup {
    let bounds = [
        queue.limit.map(|it| format!("{it} at a time")),
        queue.user_limit.map(|it| format!("{it} of a user")),
        queue.rate.map(|it| it.to_string()),
        queue.user_rate.map(|it| format!("{it} of a user")),
    ];
    let bounds: Vec<_> = bounds.into_iter().flatten().collect();
    html! { @if bounds.is_empty() { (nothing()) } @else { (bounds.join("; ")) } }
}
