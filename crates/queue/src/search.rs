//! Finding jobs by what is known of them, over queues and states.

use std::fmt;
use std::str::FromStr;

use futures_util::future::try_join_all;
use sluice_valkey::Repeat;

use crate::id::check_queue;
use crate::job::{JobView, State};
use crate::keys::{PAGE_LIMIT, root};
use crate::read::view;
use crate::{JobFilter, JobId, QueueError, Queues};

/// How many jobs one search looks at, at most, before it answers with what it has found.
pub const SEARCH_LIMIT: u64 = 10_000;

/// How many jobs one step of a count asks for: more than a step looks at.
const ALL: u64 = 1_000;

/// Which jobs are looked for. The default is every job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// Only those of this queue.
    pub queue: Option<String>,
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those on behalf of this user.
    pub user: Option<String>,
    /// Only those whose last error, or refusal as JSON, contains this text.
    pub error: Option<String>,
    /// Only those with this text in their id, user, group, unique key or last error, in upper or
    /// lower case.
    pub text: Option<String>,
}

/// What a search has found so far.
#[derive(Debug, Clone)]
pub struct Found {
    /// Jobs, by queue and state; of these the newest first.
    pub jobs: Vec<JobView>,
    /// Where to go on, unless all were looked at.
    pub next: Option<Place>,
    /// How many jobs this search has looked at.
    pub looked_at: u64,
}

/// How many jobs a query means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// That many.
    pub jobs: u64,
    /// There may be more: the count ended before it had looked at all.
    pub at_least: bool,
}

/// Where a search goes on. As text it is `<queue>.<set>.<score>.<job>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    queue: String,
    set: String,
    score: String,
    job: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            queue,
            set,
            score,
            job,
        } = self;
        write!(f, "{queue}.{set}.{score}.{job}")
    }
}

impl FromStr for Place {
    type Err = QueueError;

    fn from_str(text: &str) -> Result<Self, QueueError> {
        let read = || {
            let mut parts = text.splitn(4, '.').map(str::to_owned);
            let place = Self {
                queue: parts.next()?,
                set: parts.next()?,
                score: parts.next()?,
                job: parts.next()?,
            };
            check_queue(&place.queue).ok()?;
            let sets = State::ALL.iter().flat_map(State::sets);
            let is_known = sets.into_iter().any(|set| *set == place.set);
            let is_number = place.score.is_empty() || place.score.parse::<f64>().is_ok();
            let is_job = place.job.is_empty() || JobId::parse(&format!("q_{}", place.job)).is_ok();
            (is_known && is_number && is_job).then_some(place)
        };
        read().ok_or(QueueError::Invalid {
            what: "cursor",
            rule: "must be one that an earlier search gave",
        })
    }
}

impl JobQuery {
    /// Whether a job has to be looked at to know whether it is meant.
    fn is_plain(&self) -> bool {
        self.user.is_none() && self.error.is_none() && self.text.is_none()
    }

    fn states(&self) -> &[State] {
        self.state
            .as_ref()
            .map_or(&State::ALL, std::slice::from_ref)
    }

    /// The job whose id the text is, if it is one.
    fn job(&self) -> Option<JobId> {
        JobId::parse(self.text.as_deref()?.trim()).ok()
    }

    /// The query as filters of one queue and state each.
    pub(crate) fn filters(&self, queues: &[String]) -> Vec<JobFilter> {
        let of_queue = |queue: &String| {
            self.states().iter().map({
                let queue = queue.clone();
                move |&state| JobFilter {
                    user: self.user.clone(),
                    error: self.error.clone(),
                    text: self.text.clone(),
                    ..JobFilter::new(&queue, state)
                }
            })
        };
        queues.iter().flat_map(of_queue).collect()
    }
}

/// What one script of a search answers: the jobs it found, how many it looked at, and where it ended
/// unless with the set.
type Step = (Vec<String>, u64, Option<Place>);

/// A damaged set must not hide the jobs of other queues.
fn over_damage(query: &JobQuery, step: Result<Step, QueueError>) -> Result<Step, QueueError> {
    match step {
        Err(error) if error.is_damage() && query.queue.is_none() => Ok((Vec::new(), 1, None)),
        step => step,
    }
}

impl Queues {
    /// Looks for jobs, from the beginning or from where an earlier search ended. It ends with
    /// `limit` jobs, at most [`PAGE_LIMIT`], or when it has looked at [`SEARCH_LIMIT`]; then it may
    /// have found none and go on all the same. Costs a script for each hundred jobs that it looks
    /// at; a text that is a job's id costs one read.
    ///
    /// # Errors
    /// [`QueueError::InvalidQueue`], and when Valkey does not answer.
    pub async fn search(
        &self,
        query: &JobQuery,
        from: Option<&Place>,
        limit: u64,
    ) -> Result<Found, QueueError> {
        let limit = limit.clamp(1, PAGE_LIMIT);
        if let Some(id) = query.job() {
            let job = self.get(&id).await?.filter(|job| {
                query
                    .queue
                    .as_deref()
                    .is_none_or(|queue| queue == job.queue)
                    && query.state.is_none_or(|state| state == job.state)
            });
            return Ok(Found {
                jobs: job.into_iter().collect(),
                next: None,
                looked_at: 1,
            });
        }
        let (mut found, mut looked_at) = (Vec::new(), 0);
        let mut sets = self.sets(query, from).await?.into_iter();
        let mut next = None;
        let mut set = sets.next();
        while let Some((filter, place)) = set {
            if found.len() as u64 == limit || looked_at >= SEARCH_LIMIT {
                next = Some(place);
                break;
            }
            let wanted = limit - found.len() as u64;
            let step = self.step(&filter, &place, wanted).await;
            let (jobs, looked, end) = over_damage(query, step)?;
            looked_at += looked;
            found.extend(jobs.iter().map(|job| JobId::from_parts(&place.queue, job)));
            set = match end {
                Some(end) => Some((filter, end)),
                None => sets.next(),
            };
        }
        let views = found.into_iter().map(|id| view(&self.shared.reads, id));
        Ok(Found {
            jobs: try_join_all(views).await?.into_iter().flatten().collect(),
            next,
            looked_at,
        })
    }

    /// How many jobs the query means, of the first `look_at` that there are. By queue and state
    /// alone it is exact, and costs a script for each queue; else one for each hundred jobs.
    ///
    /// # Errors
    /// As [`Queues::search`].
    pub async fn count(&self, query: &JobQuery, look_at: u64) -> Result<Counted, QueueError> {
        let mut jobs = 0;
        if query.is_plain() {
            for queue in self.queues().await? {
                if query.queue.as_deref().is_none_or(|name| name == queue.name) {
                    jobs += query
                        .states()
                        .iter()
                        .map(|&it| queue.depth(it))
                        .sum::<u64>();
                }
            }
            return Ok(Counted {
                jobs,
                at_least: false,
            });
        }
        if query.job().is_some() {
            let jobs = self.search(query, None, 1).await?.jobs.len() as u64;
            return Ok(Counted {
                jobs,
                at_least: false,
            });
        }
        let mut looked_at = 0;
        for (filter, mut place) in self.sets(query, None).await? {
            loop {
                if looked_at >= look_at {
                    return Ok(Counted {
                        jobs,
                        at_least: true,
                    });
                }
                let step = self.step(&filter, &place, ALL).await;
                let (found, looked, end) = over_damage(query, step)?;
                jobs += found.len() as u64;
                looked_at += looked;
                match end {
                    Some(end) => place = end,
                    None => break,
                }
            }
        }
        Ok(Counted {
            jobs,
            at_least: false,
        })
    }

    /// The sets of jobs that a query is about, from a place on, each with where to begin.
    async fn sets(
        &self,
        query: &JobQuery,
        from: Option<&Place>,
    ) -> Result<Vec<(JobFilter, Place)>, QueueError> {
        let queues = match &query.queue {
            Some(queue) => {
                check_queue(queue)?;
                vec![queue.clone()]
            }
            None => self.names().await?,
        };
        let mut sets = Vec::new();
        for filter in query.filters(&queues) {
            for set in filter.state.sets() {
                let start = Place {
                    queue: filter.queue.clone(),
                    set: (*set).to_owned(),
                    score: String::new(),
                    job: String::new(),
                };
                sets.push((filter.clone(), start));
            }
        }
        if let Some(from) = from {
            let is_there =
                |(_, place): &(_, Place)| place.queue == from.queue && place.set == from.set;
            // Of another query, there is nothing behind it.
            let at = sets.iter().position(is_there).unwrap_or(sets.len());
            sets.drain(..at);
            if let Some((_, place)) = sets.first_mut() {
                *place = from.clone();
            }
        }
        Ok(sets)
    }

    /// Takes one step.
    async fn step(
        &self,
        filter: &JobFilter,
        place: &Place,
        wanted: u64,
    ) -> Result<Step, QueueError> {
        let shared = &self.shared;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (found, looked, score, job): (Vec<String>, u64, String, String) = shared
            .reads
            .function(
                &shared.scripts.search,
                &root(&place.queue),
                Repeat::Safe,
                |command| {
                    command
                        .arg(&place.set)
                        .arg(text(&filter.user))
                        .arg(text(&filter.error))
                        .arg(text(&filter.text))
                        .arg(&place.score)
                        .arg(&place.job)
                        .arg(wanted);
                },
            )
            .await?;
        let end = (!job.is_empty()).then(|| Place {
            score,
            job,
            ..place.clone()
        });
        Ok((found, looked, end))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is() {
        for text in [
            "sync.dead.1767225600000.01h2xcejqtf2nbrexx3vqjhp41",
            "most-active.crowded..",
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "sync",
            "sync.dead",
            "sync.odd.1.",
            "a{b}.dead.1.",
            "sync.dead.x.",
            "sync.dead.1.x",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
