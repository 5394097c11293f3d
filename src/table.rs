//! Tables and facts for people who read a terminal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::one_line::OneLine;
use crate::output;

/// The widest cell, in characters; longer texts are cut.
const WIDEST: usize = 60;

/// Prints rows below their heads, each column as wide as its widest cell. A column whose head
/// begins with `>` has numbers.
pub fn print(heads: &[&str], rows: &[Vec<String>]) {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| cut(cell)).collect())
        .collect();
    let names: Vec<String> = heads
        .iter()
        .map(|head| head.trim_start_matches('>').to_owned())
        .collect();
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| {
            let texts = cells.iter().chain([&names]);
            texts
                .filter_map(|row| row.get(column))
                .map(|it| it.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in [&names].into_iter().chain(&cells) {
        let padded = row
            .iter()
            .zip(heads)
            .zip(&widths)
            .map(|((cell, head), &width)| match head.starts_with('>') {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
        output::line(padded.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// Prints names with their values, one a line.
pub fn facts(facts: &[(&str, String)]) {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in facts {
        output::line(format!("{name:<width$}  {}", OneLine(value)));
    }
}

fn cut(cell: &str) -> String {
    let cell = OneLine(cell).to_string();
    if cell.chars().count() <= WIDEST {
        return cell;
    }
    let kept: String = cell.chars().take(WIDEST - 1).collect();
    format!("{kept}\u{2026}")
}

/// A time in milliseconds since 1970.
pub fn moment(ms: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(ms);
    humantime::format_rfc3339_seconds(time)
        .to_string()
        .replace('T', " ")
}

/// The same, of one that may be missing.
pub fn optional_moment(ms: Option<u64>) -> String {
    ms.map_or_else(|| "-".to_owned(), moment)
}

/// A span of time in at most two units.
pub fn span(ms: u64) -> String {
    let span = humantime::format_duration(Duration::from_secs(ms / 1000)).to_string();
    span.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// How long ago a time was, in milliseconds since 1970.
pub fn ago(ms: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    span(
        u64::try_from(now.as_millis())
            .unwrap_or_default()
            .saturating_sub(ms),
    )
}

/// A text that may be missing.
pub fn text(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}
