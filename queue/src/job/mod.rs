//! What goes into a queue and what can be seen of it.

mod new;
mod state;
mod view;

pub(crate) use new::check_size;
pub use new::{Enqueued, Idempotency, NewJob};
pub use state::State;
pub use view::{AttemptError, Finished, JobView};
