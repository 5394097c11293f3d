//! Which jobs are meant, as flags.

use clap::Args;
use serde_json::{Map, Value};
use sluice_queue::State;
use url::form_urlencoded::Serializer;

/// Which jobs are meant.
#[derive(Args, Debug)]
pub struct Filter {
    /// Only those of this queue
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,

    /// Only those in this state: waiting, scheduled, available, running, retrying, completed,
    /// cancelled or dead
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<State>,

    /// Only those of this user
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// Only those whose last error contains this text
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,

    /// Only those with this text in their id, user, group, unique key or last error
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

fn state(text: &str) -> Result<State, String> {
    let names = State::ALL.map(State::as_str).join(", ");
    text.parse().map_err(|_| format!("must be one of {names}"))
}

impl Filter {
    fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pairs = [
            ("queue", self.queue.as_deref()),
            ("state", self.state.map(State::as_str)),
            ("user", self.user.as_deref()),
            ("error", self.error.as_deref()),
            ("text", self.text.as_deref()),
        ];
        pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
    }

    /// Whether no flag was given.
    pub fn is_empty(&self) -> bool {
        self.pairs().next().is_none()
    }

    /// As the query of an address.
    pub fn query(&self) -> Serializer<'static, String> {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.pairs());
        query
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let fields = self
            .pairs()
            .map(|(name, value)| (name.to_owned(), value.into()));
        Value::Object(fields.collect::<Map<_, _>>())
    }
}
