//! A user's files by how much they are accessed.

use std::collections::HashSet;

use async_stream::try_stream;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use sluice_convex::File;

use crate::context::Context;
use crate::failure::Failure;

/// How many files are asked for at once.
const IDS_PER_FETCH: usize = 200;

/// The files with an access score as Convex holds them now, in batches, best first. Scores of files
/// that no longer exist are forgotten on the way, so that others move up. The ranking is read as
/// far as the batches are taken.
pub(crate) fn most_active<'a>(
    context: &'a Context,
    user: &'a str,
) -> BoxStream<'a, Result<Vec<File>, Failure>> {
    try_stream! {
        let mut place = 0;
        // Ranks change meanwhile.
        let mut seen = HashSet::new();
        loop {
            let ids = context.cache.most_active(user, place, IDS_PER_FETCH).await?;
            if ids.is_empty() {
                break;
            }
            let mut gone: HashSet<&str> = ids.iter().map(String::as_str).collect();
            let mut batches = context.files.get_many(user, &ids);
            while let Some(mut batch) = batches.try_next().await? {
                for file in &batch {
                    gone.remove(&*file.id);
                }
                batch.retain(|file| seen.insert(file.id.clone()));
                yield batch;
            }
            drop(batches);
            place += ids.len() - gone.len();
            if !gone.is_empty() {
                let gone: Vec<String> = gone.into_iter().map(str::to_owned).collect();
                context.cache.forget_activity(user, &gone).await?;
            }
        }
    }
    .boxed()
}
