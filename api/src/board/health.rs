//! How the parts besides the queues are doing: the tail, documents, sockets, devices.

use maud::{Markup, html};
use sluice_jobs::schedules::ScheduleView;
use sluice_store::tail::{TailState, TailStatus};

use super::parts::{ago, grouped, nothing, span};
use crate::{ApiError, AppState};

/// How many services are counted before it is "more than".
const SERVICES: usize = 1_000;

/// What the cards show.
pub(super) struct Health {
    pub tail: TailStatus,
    services: usize,
    more_services: bool,
    streams: usize,
    stream_limit: usize,
    has_contents: bool,
}

impl Health {
    pub async fn read(state: &AppState) -> Result<Self, ApiError> {
        let (mut services, mut cursor) = (0, Some(0));
        while let Some(at) = cursor
            && services < SERVICES
        {
            let (page, next) = state.documents.services(at).await?;
            services += page.len();
            cursor = next;
        }
        let (streams, stream_limit) = state.streams.count();
        Ok(Self {
            tail: state.tail.status().await?,
            services,
            more_services: cursor.is_some(),
            streams,
            stream_limit,
            has_contents: state.config.contents.is_some(),
        })
    }

    pub fn tail_is_well(&self) -> bool {
        matches!(self.tail.state(), TailState::Ok | TailState::Loading)
    }

    pub fn cards(&self, schedules: &[ScheduleView]) -> Markup {
        let is_full = self.streams * 10 >= self.stream_limit * 9;
        html! {
            section.health aria-labelledby="health" {
                h2 #health { "Health" }
                div.cards {
                    (self.tail_card())
                    article.card {
                        h3 { "Documents" }
                        dl.facts {
                            div { dt { "Services with documents" } dd { @if self.more_services { "more than " } (grouped(self.services as u64)) } }
                            (last_run("Last purge", schedules, "purge"))
                        }
                    }
                    article.card {
                        h3 { "Sockets and streams" " " span.light.(if is_full { "bad" } else { "good" }) { (if is_full { "nearly full" } else { "ok" }) } }
                        dl.facts {
                            div { dt { "Open in this process" } dd { (grouped(self.streams as u64)) } }
                            div { dt { "As many as may be" } dd { (grouped(self.stream_limit as u64)) } }
                        }
                    }
                    article.card {
                        h3 { "File sync" }
                        dl.facts {
                            div { dt { "Contents" } dd { @if self.has_contents { "kept" } @else { span.quiet { "not kept here" } } } }
                            (last_run("Devices looked at", schedules, "sleep-devices"))
                            (last_run("Shares trimmed", schedules, "filesync-trim"))
                        }
                    }
                }
            }
        }
    }

    /// Who follows Convex, and how that goes.
    fn tail_card(&self) -> Markup {
        let (tail, is_well) = (&self.tail, self.tail_is_well());
        html! {
            article.card #tail {
                h3 { "Changes in Convex" " " span.light.(if is_well { "good" } else { "bad" }) { (tail.state().as_str()) } }
                dl.facts {
                    div {
                        dt { "Followed by" }
                        dd { @if let Some(worker) = &tail.worker { code { (worker) } } @else { span.quiet { "nobody" } } }
                    }
                    div {
                        dt { "Taken in until" }
                        dd { @match tail.settled_until_ms() { Some(ms) => (ago(ms)), None => (nothing()) } }
                    }
                    @if let Some(health) = &tail.health {
                        div { dt { "Behind by" } dd { (span((health.lag_secs * 1000.0) as u64)) } }
                    }
                    @if let Some(walk) = &tail.progress.walk {
                        div { dt { "Walking over all files" } dd { (walk.purpose.as_str()) } }
                    }
                }
                @if let Some(trouble) = tail.health.as_ref().and_then(|health| health.trouble.as_ref()) {
                    p.problem role="alert" { (trouble) }
                }
            }
        }
    }
}

fn last_run(name: &str, schedules: &[ScheduleView], schedule: &str) -> Markup {
    let found = schedules.iter().find(|it| it.name == schedule);
    html! {
        div {
            dt { (name) }
            dd {
                @match found.and_then(|it| it.last.zip(it.last_job.as_ref())) {
                    Some((at, job)) => a href={ "/board/jobs/" (job) } { (ago(at)) },
                    None => span.quiet { "not yet" },
                }
            }
        }
    }
}
