//! Which parts a content has, and who wrote each.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Bytes of a part, but for the last one. It is what an upload holds in memory twice, and what a
/// client sends again at most after an interruption.
pub const PART_BYTES: u64 = 4 * 1024 * 1024;

/// The parts of a content: all of one length but for the last, and by whom each was written.
///
/// An upload may be taken over by another writer while a part of the former one is still under way.
/// Writers have numbers, and a part is named after its writer too, so that what comes in late is
/// never taken for what was hashed. As text: `4194304:0.1,3.2` are parts of 4 MiB, those from 0 on
/// by writer 1, those from 3 on by writer 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    part_bytes: u64,
    /// By their first parts.
    runs: Vec<Run>,
}

/// Parts that follow each other and have one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    writer: u64,
}

/// A part: its place in the content, in bytes, and its writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub range: Range<u64>,
    pub writer: u64,
}

/// The text is no layout.
#[derive(Debug, thiserror::Error)]
#[error("the layout of a content cannot be read")]
pub struct LayoutError;

impl Default for Layout {
    fn default() -> Self {
        Self::of(PART_BYTES)
    }
}

impl Layout {
    /// Without parts yet, which will have so many bytes.
    pub fn of(part_bytes: u64) -> Self {
        Self {
            part_bytes: part_bytes.max(1),
            runs: Vec::new(),
        }
    }

    /// From this offset on, which is where a part begins, parts are this writer's.
    #[must_use]
    pub fn resumed(mut self, offset: u64, writer: u64) -> Self {
        let first = offset / self.part_bytes;
        self.runs.retain(|run| run.first < first);
        self.runs.push(Run { first, writer });
        self
    }

    /// Whether parts may end at this offset.
    pub fn is_border(&self, offset: u64) -> bool {
        offset.is_multiple_of(self.part_bytes)
    }

    /// The part that an offset lies in; none when nobody wrote it.
    pub(crate) fn part(&self, offset: u64) -> Option<Part> {
        let number = offset / self.part_bytes;
        let run = self.runs.iter().rev().find(|run| run.first <= number)?;
        let start = number * self.part_bytes;
        Some(Part {
            range: start..start + self.part_bytes,
            writer: run.writer,
        })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:", self.part_bytes)?;
        for (place, Run { first, writer }) in self.runs.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(out, "{comma}{first}.{writer}")?;
        }
        Ok(())
    }
}

impl FromStr for Layout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let number = |text: &str| text.parse().map_err(|_| LayoutError);
        let (part_bytes, runs) = text.split_once(':').ok_or(LayoutError)?;
        let runs = runs.split_terminator(',').map(|run| {
            let (first, writer) = run.split_once('.').ok_or(LayoutError)?;
            Ok(Run {
                first: number(first)?,
                writer: number(writer)?,
            })
        });
        let layout = Self {
            part_bytes: number(part_bytes)?,
            runs: runs.collect::<Result<_, _>>()?,
        };
        let is_sorted = layout.runs.is_sorted_by(|one, next| one.first < next.first);
        if layout.part_bytes == 0 || !is_sorted {
            return Err(LayoutError);
        }
        Ok(layout)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_part_is_of_the_last_writer_that_came_before_it() {
        let layout = Layout::of(10).resumed(0, 1).resumed(30, 2);
        let writer = |offset| layout.part(offset).unwrap().writer;
        assert_eq!(
            (writer(0), writer(29), writer(30), writer(99)),
            (1, 1, 2, 2)
        );
        assert_eq!(layout.part(35).unwrap().range, 30..40);
        assert_eq!(Layout::of(10).part(0), None);
    }

    #[test]
    fn a_writer_that_begins_anew_leaves_nothing_of_the_former_ones() {
        let layout = Layout::of(10).resumed(0, 1).resumed(30, 2).resumed(0, 3);
        assert_eq!(layout.to_string(), "10:0.3");
    }

    #[test]
    fn a_layout_is_read_as_it_was_written() {
        for layout in [
            Layout::default(),
            Layout::of(10).resumed(0, 1),
            Layout::of(10).resumed(0, 1).resumed(30, 2),
        ] {
            assert_eq!(layout.to_string().parse::<Layout>().unwrap(), layout);
        }
    }

    #[test]
    fn what_is_no_layout_is_refused() {
        for text in ["", "10", "0:0.1", "x:0.1", "10:0", "10:0.x", "10:3.1,3.2"] {
            assert!(text.parse::<Layout>().is_err(), "{text}");
        }
    }
}
