//! What goes into a queue and what can be seen of it.

mod log;
mod new;
mod state;
mod view;

pub use log::{LogLevel, LogLine};
pub(crate) use new::check_size;
pub use new::{Enqueued, Idempotency, NewJob};
pub use state::State;
pub use view::{AttemptError, Finished, JobView};
pub(crate) use view::{Fields, began_at, limited};
