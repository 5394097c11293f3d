//! A tenant with many entries.

use std::time::Duration;

use redis::Commands as _;

use crate::parts::Parts;

/// Entries that are there at the end, in so many shares, of which the first has most.
const ENTRIES: u64 = 10_000_000;
const SHARES: u64 = 11;
/// Entries of one call.
const BATCH: u64 = 50_000;

/// Copies the last entry of a share, in the form in which a change is entered: into its log and the
/// tenant's feed.
const COPY: &str = r"
    local share, tenant, count = KEYS[1], KEYS[2], tonumber(ARGV[1])
    local name = string.match(share, 'share:(.*)$')
    local head = tonumber(redis.call('HGET', share, 'head'))
    local total = tonumber(redis.call('HGET', tenant .. 'tenant', 'position'))
    local entry = redis.call('XREVRANGE', share .. ':log', '+', '-', 'COUNT', 1)[1][2][2]
    for at = 1, count do
      local position = string.format('%.0f', head + at)
      redis.call('XADD', share .. ':log', position .. '-0', 'entry', entry)
      redis.call('XADD', tenant .. 'feed', string.format('%.0f-0', total + at), 'share', name, 'position', position)
    end
    redis.call('HSET', share, 'head', string.format('%.0f', head + count))
    redis.call('HSET', tenant .. 'tenant', 'position', string.format('%.0f', total + count))
    return 0";

pub async fn measure(parts: &Parts, rounds: (usize, Duration)) {
    let mut valkey = parts.deployment.valkey.connection();
    let used = |valkey: &mut redis::Connection| {
        let info: String = redis::cmd("INFO").arg("memory").query(valkey).unwrap();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    println!("\nWith few entries:\n");
    crate::load::head();
    parts.fill(&parts.shares[2], 20_000).await;
    look(parts, rounds, 20_000).await;
    let before = used(&mut valkey);
    let tenant = "sf1:{default}:";
    let position = |valkey: &mut redis::Connection| -> u64 {
        valkey.hget(format!("{tenant}tenant"), "position").unwrap()
    };
    let first = position(&mut valkey);
    let copy = redis::Script::new(COPY);
    for at in 0..(ENTRIES - first).div_ceil(BATCH) {
        // Half of them in one share.
        let share = if at % 2 == 0 {
            2
        } else {
            3 + at / 2 % (SHARES - 1)
        };
        let share = format!("{tenant}share:{}", parts.shares[share as usize]);
        let () = copy
            .key(share)
            .key(tenant)
            .arg(BATCH)
            .invoke(&mut valkey)
            .unwrap();
    }
    let entries = position(&mut valkey);
    let bytes = (used(&mut valkey) - before) as f64 / (entries - first) as f64;
    println!("\nWith {entries} entries, each of which takes {bytes:.0} bytes of Valkey:\n");
    crate::load::head();
    let head = format!("{tenant}share:{}", parts.shares[2]);
    let head: u64 = valkey.hget(head, "head").unwrap();
    look(parts, rounds, head).await;
}

/// Pages at the start, in the middle and at the end of a share's log, and changes.
async fn look(parts: &Parts, rounds: (usize, Duration), head: u64) {
    let share = parts.shares[2].as_str();
    for (name, after) in [("start", 0), ("middle", head / 2), ("end", head - 1_000)] {
        let name = format!("changes, 1,000, {name} of {head}");
        parts.compare_pages(&name, &[(share, after)], rounds).await;
    }
    parts.apply(rounds).await;
}
