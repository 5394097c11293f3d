//! The index of a service: which documents it has, in the order of their creation.
//!
//! It is divided into [`PARTS`] by the hash of an id, each in a slot of its own, so that a slot of a
//! cluster has a sixteenth of a service's ids, of about 100 bytes each. A part is in order by
//! itself; where a listing is between two pages is a place in each.

use redis::Cmd;
use sluice_valkey::Spec;

use super::Documents;
use super::functions::FUNCTIONS;
use super::keys::{SERVICES, index};
use crate::StoreError;
use crate::spread::hash;

/// Parts of the index of a service.
pub const PARTS: usize = 16;
/// A document that is announced and not there after this long, in µs, will not be created by that
/// call any more.
const ANNOUNCED: u64 = 60_000_000;

/// An id in an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub id: String,
    pub part: usize,
    /// When it was announced, in µs since 1970; another one for each id of a part.
    pub place: u64,
}

/// Where a listing is: behind this place in each part of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(pub [u64; PARTS]);

impl Places {
    /// At the beginning.
    pub(super) fn start() -> Self {
        Self([0; PARTS])
    }

    /// Moves behind an entry.
    pub(super) fn pass(&mut self, entry: &IndexEntry) {
        self.0[entry.part] = entry.place;
    }
}

/// The part that has an id.
pub(super) fn part_of(id: &str) -> usize {
    hash(id) as usize % PARTS
}

impl Documents {
    /// Enters a document that is about to be created, behind all others.
    pub(super) async fn announce(&self, service: &str, id: &str) -> Result<(), StoreError> {
        let mut announce = FUNCTIONS.announce.command(&[&index(service, part_of(id))]);
        announce.arg(id);
        let mut register = redis::cmd("SADD");
        register.arg(SERVICES).arg(service);
        FUNCTIONS
            .announce
            .run_all::<u8>(&self.valkey, vec![announce, register])
            .await?;
        Ok(())
    }

    /// The next ids of a service, about `wanted` of them; and whether there are no more.
    pub(super) async fn entries(
        &self,
        service: &str,
        places: &Places,
        wanted: usize,
    ) -> Result<(Vec<IndexEntry>, bool), StoreError> {
        // More than each part's share, for they are not equally full.
        let count = wanted / PARTS * 2 + 4;
        let reading = places.0.iter().enumerate();
        let commands = reading.map(|(part, &place)| range(service, part, place, count));
        let spec = Spec::command("document_index");
        let found: Vec<Vec<(String, u64)>> =
            self.valkey.query_all(spec, commands.collect()).await?;
        // What comes behind the last of a part that has more is not known.
        let known_until = found
            .iter()
            .filter(|entries| entries.len() == count)
            .filter_map(|entries| entries.last().map(|&(_, place)| place))
            .min();
        let mut entries: Vec<_> = found
            .into_iter()
            .enumerate()
            .flat_map(|(part, entries)| {
                let entries = entries.into_iter();
                entries.map(move |(id, place)| IndexEntry { id, part, place })
            })
            .filter(|entry| known_until.is_none_or(|until| entry.place <= until))
            .collect();
        entries.sort_unstable_by_key(|entry| (entry.place, entry.part));
        let is_end = known_until.is_none() && entries.len() <= wanted;
        entries.truncate(wanted);
        Ok((entries, is_end))
    }

    /// Some ids of one part behind a place, at most `count`.
    pub(super) async fn entries_of(
        &self,
        service: &str,
        part: usize,
        place: u64,
        count: usize,
    ) -> Result<Vec<IndexEntry>, StoreError> {
        let command = range(service, part, place, count);
        let found: Vec<(String, u64)> = self.valkey.query("document_index", &command).await?;
        let entries = found.into_iter();
        Ok(entries
            .map(|(id, place)| IndexEntry { id, part, place })
            .collect())
    }

    /// Takes ids whose documents are missing out of the index, if they have been for long enough.
    /// Returns how many.
    pub(super) async fn forget(
        &self,
        service: &str,
        missing: &[&IndexEntry],
    ) -> Result<u64, StoreError> {
        if missing.is_empty() {
            return Ok(0);
        }
        let time = redis::cmd("TIME");
        let (seconds, micros): (u64, u64) = self.valkey.query("time", &time).await?;
        let now = seconds * 1_000_000 + micros;
        let of_part = |part| {
            let entries = missing.iter().filter(move |entry| entry.part == part);
            let mut entries = entries
                .filter(|entry| entry.place + ANNOUNCED < now)
                .peekable();
            entries.peek()?;
            let mut forget = FUNCTIONS.forget.command(&[&index(service, part)]);
            for entry in entries {
                forget.arg(&entry.id).arg(entry.place);
            }
            Some(forget)
        };
        let commands = (0..PARTS).filter_map(of_part).collect();
        let forgotten = FUNCTIONS.forget.run_all(&self.valkey, commands).await?;
        Ok(forgotten.iter().sum::<u64>())
    }
}

fn range(service: &str, part: usize, place: u64, count: usize) -> Cmd {
    let mut range = redis::cmd("ZRANGE");
    range
        .arg(index(service, part))
        .arg(format!("({place}"))
        .arg("+inf")
        .arg("BYSCORE")
        .arg("LIMIT")
        .arg(0)
        .arg(count)
        .arg("WITHSCORES");
    range
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_spread_over_all_parts() {
        let mut counts = [0; PARTS];
        for number in 0..1_600 {
            counts[part_of(&format!("doc:{number}"))] += 1;
        }
        assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
    }
}
