//! What operators did: who, when, what, and to how many.

use std::collections::HashMap;

use serde::Serialize;
use sluice_valkey::Repeat;
use ulid::Ulid;

use crate::keys::{AUDIT_LIMIT, COMMON, PAGE_LIMIT};
use crate::{QueueError, Queues};

/// An action of an operator, as the audit log keeps it. Times are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Action {
    /// Its id.
    pub id: String,
    /// When it began.
    pub at: u64,
    /// Who did it.
    pub who: String,
    /// By what: `board` or `api`.
    pub via: String,
    /// What was done: `retry`, `pause`, …
    pub what: String,
    /// To what: a job, a filter, a queue, a schedule, a worker.
    pub target: String,
    /// To how many; none while it is under way, or when it broke off.
    pub count: Option<u64>,
    /// When it ended, well or not.
    pub ended_at: Option<u64>,
    /// Why it broke off, if it did.
    pub error: Option<String>,
    /// How it can be undone, in the caller's own words.
    #[serde(skip)]
    pub undo: Option<String>,
    /// The action that undid it, if one did.
    pub undone_by: Option<String>,
}

impl Action {
    /// One that is about to begin.
    pub fn new(who: &str, via: &str, what: &str, target: &str) -> Self {
        Self {
            id: Ulid::generate().to_string().to_lowercase(),
            who: who.to_owned(),
            via: via.to_owned(),
            what: what.to_owned(),
            target: target.to_owned(),
            ..Self::default()
        }
    }

    fn read(id: String, mut fields: HashMap<String, String>) -> Self {
        let mut text = |name: &str| fields.remove(name).filter(|it| !it.is_empty());
        Self {
            id,
            at: text("at")
                .and_then(|it| it.parse().ok())
                .unwrap_or_default(),
            who: text("who").unwrap_or_default(),
            via: text("via").unwrap_or_default(),
            what: text("what").unwrap_or_default(),
            target: text("target").unwrap_or_default(),
            count: text("count").and_then(|it| it.parse().ok()),
            ended_at: text("ended_at").and_then(|it| it.parse().ok()),
            error: text("error"),
            undo: text("undo"),
            undone_by: text("undone_by"),
        }
    }
}

impl Queues {
    /// Writes an action down, before it begins and again when it has ended.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn audit(&self, action: &Action) -> Result<(), QueueError> {
        let shared = &self.shared;
        let number = |it: Option<u64>| it.map_or_else(String::new, |it| it.to_string());
        let text = |it: &Option<String>| it.clone().unwrap_or_default();
        let fields = [
            ("who", action.who.clone()),
            ("via", action.via.clone()),
            ("what", action.what.clone()),
            ("target", action.target.clone()),
            ("count", number(action.count)),
            ("ended_at", number(action.ended_at)),
            ("error", text(&action.error)),
            ("undo", text(&action.undo)),
            ("undone_by", text(&action.undone_by)),
        ];
        let _: i64 = shared
            .calls
            .function(&shared.scripts.audit, COMMON, Repeat::Safe, |command| {
                command.arg(&action.id).arg(AUDIT_LIMIT);
                for (name, value) in &fields {
                    command.arg(name).arg(value);
                }
            })
            .await?;
        Ok(())
    }

    /// What operators did, the latest first, at most [`PAGE_LIMIT`]; from behind an action, if one
    /// is named.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn audited(
        &self,
        behind: Option<&str>,
        limit: u64,
    ) -> Result<Vec<Action>, QueueError> {
        let shared = &self.shared;
        let actions: Vec<(String, HashMap<String, String>)> = shared
            .reads
            .function(&shared.scripts.audited, COMMON, Repeat::Safe, |command| {
                command
                    .arg(limit.clamp(1, PAGE_LIMIT))
                    .arg(behind.unwrap_or_default());
            })
            .await?;
        Ok(actions
            .into_iter()
            .map(|(id, fields)| Action::read(id, fields))
            .collect())
    }

    /// One action, if it is kept.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn action(&self, id: &str) -> Result<Option<Action>, QueueError> {
        if Ulid::from_string(id).is_err() {
            return Ok(None);
        }
        let mut command = redis::cmd("HGETALL");
        command.arg(format!("{COMMON}audit:{id}"));
        let fields: HashMap<String, String> =
            self.shared.reads.command("audited", &command).await?;
        Ok((!fields.is_empty()).then(|| Action::read(id.to_owned(), fields)))
    }
}
