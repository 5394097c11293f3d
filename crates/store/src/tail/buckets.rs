//! How calls are divided among the buckets of the ledger.

use std::collections::HashMap;

use redis::Cmd;
use sluice_valkey::Function;

use super::Settlement;
use super::keys::{BUCKETS, bucket_of, key};

sluice_valkey::statuses! {
    /// How a bucket answers.
    pub(super) enum Bucket {
        Open = "open",
        /// It is closed to this token: another worker has the lease by now.
        Closed = "closed",
    }
}

/// Places in a list, by bucket; of each bucket in their order.
#[derive(Default)]
pub(super) struct Buckets([Vec<usize>; BUCKETS]);

impl Buckets {
    /// The places of a list of which these are the buckets.
    pub fn of(numbers: impl Iterator<Item = usize>) -> Buckets {
        let mut buckets = Buckets::default();
        for (place, number) in numbers.enumerate() {
            buckets.0[number].push(place);
        }
        buckets
    }

    pub fn used(&self) -> impl Iterator<Item = (usize, &[usize])> {
        let places = self.0.iter().map(Vec::as_slice).enumerate();
        places.filter(|(_, places)| !places.is_empty())
    }

    /// A call for each bucket that is used, with its state and this part of it as keys.
    pub fn commands(
        &self,
        function: &Function,
        part: &str,
        arguments: impl Fn(&mut Cmd, &[usize]),
    ) -> Vec<Cmd> {
        let mut commands = Vec::new();
        for (number, places) in self.used() {
            let keys = [key(number, "state"), key(number, part)];
            let mut cmd = function.command_with_capacity(
                &keys.each_ref().map(String::as_str),
                3 + 5 * places.len(),
                400 * places.len(),
            );
            arguments(&mut cmd, places);
            commands.push(cmd);
        }
        commands
    }
}

/// The settlements in rounds, one to follow when the one before is done, so that the nudges of a
/// name come in the order of the settlements. The buckets of a round are settled at once and in no
/// order: where a name comes up in two buckets, the second is for a later round. Within a bucket
/// everything stays in its order.
pub(super) fn rounds(settlements: &[Settlement]) -> Vec<Buckets> {
    let mut rounds: Vec<Buckets> = Vec::new();
    let mut of_bucket = [0; BUCKETS];
    // The last round and bucket of each name.
    let mut of_name: HashMap<(&str, &str), (usize, usize)> = HashMap::new();
    for (place, settlement) in settlements.iter().enumerate() {
        let bucket = bucket_of(&settlement.doc_id);
        let mut round = of_bucket[bucket];
        for name in names(settlement) {
            if let Some((before, other)) = of_name.get(&name) {
                round = round.max(before + usize::from(*other != bucket));
            }
        }
        of_bucket[bucket] = round;
        of_name.extend(names(settlement).map(|name| (name, (round, bucket))));
        rounds.resize_with(rounds.len().max(round + 1), Buckets::default);
        rounds[round].0[bucket].push(place);
    }
    rounds
}

/// Who is told of a settlement: the users and ids in its nudges.
fn names(settlement: &Settlement) -> impl Iterator<Item = (&str, &str)> {
    settlement.nudges.iter().flat_map(|nudge| {
        let users = [Some(&nudge.user), nudge.former_user.as_ref()];
        users
            .into_iter()
            .flatten()
            .map(|user| (&**user, &*nudge.id))
    })
}
