//! What pages are made of: states, times, numbers, tables.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use maud::{Markup, html};
use sluice_queue::{JobView, State as JobState};

pub(super) fn now_ms() -> u64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or_default()
}

/// A job's state, by its name and by a colour.
pub(super) fn state(state: JobState) -> Markup {
    html! { span.state.(state.as_str()) { (state.as_str()) } }
}

/// A number that leads somewhere, unless it is 0.
pub(super) fn count(number: u64, kind: &str, address: &str) -> Markup {
    html! {
        @if number == 0 { span.quiet { "0" } } @else { a.(kind) href=(address) { (grouped(number)) } }
    }
}

/// A point in time, given in milliseconds since 1970.
pub(super) fn moment(ms: u64) -> Markup {
    let time = rfc3339(ms);
    let shown = time.replace('T', " ").replace('Z', " UTC");
    html! { time datetime=(time) { (shown) } }
}

/// How long ago that was; the page has it count on.
pub(super) fn ago(ms: u64) -> Markup {
    let time = rfc3339(ms);
    let shown = time.replace('T', " ").replace('Z', " UTC");
    html! {
        time datetime=(time) title=(shown) data-ago=(ms) { (span(now_ms().saturating_sub(ms))) " ago" }
    }
}

/// How long that has lasted.
pub(super) fn lasting(ms: u64) -> Markup {
    html! { span data-lasting=(ms) { (span(now_ms().saturating_sub(ms))) } }
}

/// How long it is until then, or how long ago it was.
pub(super) fn relative(ms: u64) -> Markup {
    let now = now_ms();
    if ms <= now {
        return ago(ms);
    }
    let time = rfc3339(ms);
    let shown = time.replace('T', " ").replace('Z', " UTC");
    html! { time datetime=(time) title=(shown) data-ago=(ms) { "in " (span(ms - now)) } }
}

fn rfc3339(ms: u64) -> String {
    // The last time that has four digits for its year.
    let ms = ms.min(253_402_300_799_000);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

/// A span of time in at most two units.
pub(super) fn span(ms: u64) -> String {
    let span = humantime::format_duration(Duration::from_secs(ms / 1000)).to_string();
    let units = span.split(' ').take(2).map(|unit| {
        let at = unit
            .find(|letter: char| letter.is_ascii_alphabetic())
            .unwrap_or(unit.len());
        let (number, unit) = unit.split_at(at);
        let short = match unit.trim_end_matches('s') {
            "" => "s",
            "m" => "min",
            "month" => "mo",
            "day" => "d",
            "year" => "y",
            other => other,
        };
        format!("{number}\u{a0}{short}")
    });
    units.collect::<Vec<_>>().join(" ")
}

/// A time that something takes, to the millisecond where that matters.
pub(super) fn took(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}\u{a0}ms"),
        1_000..60_000 => format!("{:.1}\u{a0}s", ms as f64 / 1000.0),
        _ => span(ms),
    }
}

/// How often a job was begun, of how often it may be.
pub(super) fn attempts(job: &JobView) -> String {
    match job.max_attempts {
        Some(most) => format!("{} of {most}", job.attempts),
        None => job.attempts.to_string(),
    }
}

/// Digits in groups of three, with narrow spaces between.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// A dash, for what is not there.
pub(super) fn nothing() -> Markup {
    html! { span.quiet { "\u{2013}" } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1\u{202f}000"),
            (40_700_000, "40\u{202f}700\u{202f}000"),
        ] {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn spans_have_two_units_at_most() {
        for (ms, expected) in [
            (999, "0\u{a0}s"),
            (61_000, "1\u{a0}min 1\u{a0}s"),
            (90_061_000, "1\u{a0}d 1\u{a0}h"),
        ] {
            assert_eq!(span(ms), expected);
        }
        assert_eq!(took(12), "12\u{a0}ms");
        assert_eq!(took(1_240), "1.2\u{a0}s");
    }
}
