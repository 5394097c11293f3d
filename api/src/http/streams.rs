//! WebSockets and event streams that are open in this process: of one user and in all so many and
//! no more, for each holds memory for as long as it pleases its client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;

use super::error::ApiError;

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// In all (`SLUICE_STREAMS`).
    pub all: usize,
    /// Of one user (`SLUICE_STREAMS_PER_USER`). Tokens without a subject are nobody's: only the
    /// other limit holds for them.
    pub of_user: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            all: 5000,
            of_user: 100,
        }
    }
}

/// Counts those that are open. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Shared>);

struct Shared {
    limits: StreamLimits,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    of_user: HashMap<String, usize>,
}

impl Open {
    fn take(&mut self, user: &str, limit: usize) -> Result<(), ApiError> {
        let count = self.of_user.entry(user.to_owned()).or_default();
        if *count >= limit {
            return Err(ApiError::TooManyStreams { limit });
        }
        *count += 1;
        Ok(())
    }

    fn give_back(&mut self, user: &str) {
        if let Some(count) = self.of_user.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.of_user.remove(user);
            }
        }
    }
}

impl Streams {
    pub fn new(limits: StreamLimits) -> Self {
        let open = Mutex::default();
        Self(Arc::new(Shared { limits, open }))
    }

    /// How many are open, and how many may be.
    pub fn count(&self) -> (usize, usize) {
        (self.lock().all, self.0.limits.all)
    }

    /// Counts one more, of nobody yet.
    ///
    /// # Errors
    /// [`ApiError::NoStreamLeft`].
    pub fn open(&self) -> Result<OpenStream, ApiError> {
        let mut open = self.lock();
        if open.all >= self.0.limits.all {
            return Err(ApiError::NoStreamLeft);
        }
        open.all += 1;
        metrics::gauge!("sluice_streams").increment(1.0);
        Ok(OpenStream {
            streams: self.clone(),
            user: None,
        })
    }

    /// Counts one more, of that user.
    ///
    /// # Errors
    /// [`ApiError::NoStreamLeft`], [`ApiError::TooManyStreams`].
    pub fn open_for(&self, user: Option<&str>) -> Result<OpenStream, ApiError> {
        let mut stream = self.open()?;
        stream.belong_to(user)?;
        Ok(stream)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A WebSocket or event stream, which counts until this is dropped.
pub(crate) struct OpenStream {
    streams: Streams,
    user: Option<String>,
}

impl OpenStream {
    /// From here on it is that user's.
    ///
    /// # Errors
    /// [`ApiError::TooManyStreams`]; then it is whose it was.
    pub fn belong_to(&mut self, user: Option<&str>) -> Result<(), ApiError> {
        if self.user.as_deref() == user {
            return Ok(());
        }
        let mut open = self.streams.lock();
        if let Some(user) = user {
            open.take(user, self.streams.0.limits.of_user)?;
        }
        if let Some(former) = &self.user {
            open.give_back(former);
        }
        drop(open);
        self.user = user.map(str::to_owned);
        Ok(())
    }

    /// `events`, which count as long as they are read.
    pub fn hold<S>(self, events: S) -> impl futures_util::Stream<Item = S::Item>
    where
        S: futures_util::Stream,
    {
        events.inspect(move |_| {
            let _held = &self;
        })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        open.all -= 1;
        if let Some(user) = &self.user {
            open.give_back(user);
        }
        metrics::gauge!("sluice_streams").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn streams(all: usize, of_user: usize) -> Streams {
        Streams::new(StreamLimits { all, of_user })
    }

    #[test]
    fn a_user_at_the_limit_is_refused_until_one_is_closed() {
        let streams = streams(10, 1);
        let first = streams.open_for(Some("a")).unwrap();
        let refused = streams.open_for(Some("a")).err().unwrap();
        assert!(matches!(refused, ApiError::TooManyStreams { limit: 1 }));
        let _other = streams.open_for(Some("b")).unwrap();
        drop(first);
        streams.open_for(Some("a")).unwrap();
    }

    #[test]
    fn those_of_nobody_count_in_all() {
        let streams = streams(2, 1);
        let _first = streams.open_for(None).unwrap();
        let second = streams.open().unwrap();
        let refused = streams.open_for(Some("a")).err().unwrap();
        assert!(matches!(refused, ApiError::NoStreamLeft));
        drop(second);
        streams.open_for(Some("a")).unwrap();
    }

    #[test]
    fn one_that_changes_hands_counts_for_its_new_user_alone() {
        let streams = streams(10, 1);
        let mut stream = streams.open_for(Some("a")).unwrap();
        let _of_b = streams.open_for(Some("b")).unwrap();
        assert!(stream.belong_to(Some("b")).is_err());
        assert!(streams.open_for(Some("a")).is_err());
        stream.belong_to(Some("c")).unwrap();
        streams.open_for(Some("a")).unwrap();
        drop(stream);
        streams.open_for(Some("c")).unwrap();
        assert_eq!(streams.lock().of_user.len(), 1);
    }
}
