//! Who is logged in to the queue board.
//!
//! A session is what is left of a token once it was verified: whose it is, and until when. The
//! token itself is not kept. Its id is a secret that its holder's cookie carries; [`keys`] lists
//! what Valkey has instead.

mod functions;
pub mod keys;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use functions::FUNCTIONS;
use sluice_valkey::Valkey;

use crate::StoreError;
use crate::library::METRICS;

/// Sessions that an operator has at a time; one more ends the oldest.
pub const MOST_SESSIONS: usize = 32;

/// The sessions of the board. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    valkey: Valkey,
}

/// An operator who is logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who that is, as the token had it; those without a name share their sessions' number.
    pub subject: Option<String>,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
    /// Whether it is for looking alone.
    #[serde(default)]
    pub read_only: bool,
}

impl Sessions {
    /// The sessions that are kept there.
    pub fn new(valkey: &Valkey) -> Sessions {
        Sessions {
            valkey: valkey.shared().measured(METRICS),
        }
    }

    /// Begins a session, which Valkey drops after `lifetime`, and returns its id: 64 hexadecimal
    /// digits that nobody can guess.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn open(&self, session: &Session, lifetime: Duration) -> Result<String, StoreError> {
        let id = rand::random::<[u8; 32]>().map(|byte| format!("{byte:02x}"));
        let id = id.concat();
        let text = serde_json::json!(session);
        let keys = [
            &*keys::session(&id),
            &*keys::operator(session.subject.as_deref()),
        ];
        let mut cmd = FUNCTIONS.open.command(&keys);
        // Valkey knows no lifetime of 0.
        let lifetime_ms = (lifetime.as_millis() as u64).max(1);
        cmd.arg(text.to_string())
            .arg(lifetime_ms)
            .arg(MOST_SESSIONS);
        FUNCTIONS.open.run::<()>(&self.valkey, &cmd).await?;
        Ok(id)
    }

    /// The session with this id, while it lasts. One that another version of Sluice keeps in
    /// another way is none.
    ///
    /// # Errors
    /// As [`Sessions::open`].
    pub async fn find(&self, id: &str) -> Result<Option<Session>, StoreError> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(keys::session(id));
        let text: Option<String> = self.valkey.query("board_find", &cmd).await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Ends a session, for all who hold its id. That it is over already is no error.
    ///
    /// # Errors
    /// As [`Sessions::open`].
    pub async fn close(&self, id: &str) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("DEL");
        cmd.arg(keys::session(id));
        Ok(self.valkey.query("board_close", &cmd).await?)
    }
}
