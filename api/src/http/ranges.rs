//! Which bytes of a content a request asks for: by `Range` (RFC 9110, section 14), or by numbers in
//! the query, for clients that cannot set headers.
//!
//! | asked for | answer |
//! |---|---|
//! | nothing | 200, all of it |
//! | `bytes=a-b`, `bytes=a-` | 206, cut at the end of the content |
//! | `bytes=-n` | 206, the last n bytes, all of them when there are less |
//! | a start at the end or past it, `bytes=-0` | 416 |
//! | of an empty content: `bytes=-n` | 200, empty |
//! | of an empty content: anything else | 416 |
//! | several ranges | 416 |
//! | another unit, no range, a start past its own end | 200, as if nothing was asked for |
//! | with an `If-Range` that is not exactly the strong tag | 200, all of it |
//! | the query `range_start`, `range_end` (both inclusive) | as `bytes=a-b`; without a start from 0 on |
//! | header and query, of the same bytes | as the header alone |
//! | header and query, of different bytes; a start past its own end in the query | 422 |

use std::ops::Range;

use axum::http::HeaderMap;
use axum::http::header::{IF_RANGE, RANGE};

/// What of a content is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of it: 200.
    Whole,
    /// These bytes, of which there is at least one: 206.
    Part(Range<u64>),
}

/// Why nothing can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeError {
    /// The content has none of what is asked for: 416.
    Unsatisfiable,
    /// Header and query ask for different bytes: 422.
    Disagreement,
    /// The query's range ends before it begins: 422.
    Backwards,
}

/// The range that the query names; both ends are part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueryRange {
    pub start: Option<u64>,
    pub end: Option<u64>,
}

/// A range as it is asked for.
#[derive(Clone, Copy)]
enum Asked {
    From(u64, u64),
    Last(u64),
    Several,
}

/// What is sent of a content that has `size` bytes and this strong tag, quotes included.
pub(crate) fn select(
    headers: &HeaderMap,
    query: QueryRange,
    etag: &str,
    size: u64,
) -> Result<Selection, RangeError> {
    let by_query = match (query.start, query.end) {
        (None, None) => None,
        (start, end) => {
            let (start, end) = (start.unwrap_or(0), end.unwrap_or(u64::MAX));
            if start > end {
                return Err(RangeError::Backwards);
            }
            Some(Asked::From(start, end).of(size))
        }
    };
    let by_header = asked(headers).map(|asked| asked.of(size));
    match (by_header, by_query) {
        (None, None) => Ok(Selection::Whole),
        (Some(header), Some(query)) if header != query => Err(RangeError::Disagreement),
        (Some(_), _) if !is_current(headers, etag) => Ok(Selection::Whole),
        (Some(selection), _) | (None, Some(selection)) => selection,
    }
}

/// Whether the ranges of the request are of the content as it is. Two texts are one content only
/// if their tags are equal and strong; a time is no strong tag.
fn is_current(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get(IF_RANGE)
        .is_none_or(|tag| tag.as_bytes() == etag.as_bytes())
}

impl Asked {
    fn of(self, size: u64) -> Result<Selection, RangeError> {
        match self {
            Self::From(start, end) if start < size => {
                Ok(Selection::Part(start..end.saturating_add(1).min(size)))
            }
            Self::Last(_) if size == 0 => Ok(Selection::Whole),
            Self::Last(count) if count > 0 => Ok(Selection::Part(size - count.min(size)..size)),
            _ => Err(RangeError::Unsatisfiable),
        }
    }
}

/// What the header asks for; none when it is not there, or not to be heeded.
fn asked(headers: &HeaderMap) -> Option<Asked> {
    let lines = headers.get_all(RANGE).iter().map(|line| line.to_str().ok());
    let lines: Vec<&str> = lines.collect::<Option<_>>()?;
    let (unit, set) = lines.first()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let ranges = set.split(',').map(str::trim);
    let ranges = ranges.filter(|range| !range.is_empty()).map(range);
    let ranges: Vec<Asked> = ranges.collect::<Option<_>>()?;
    match ranges[..] {
        [] => None,
        [range] if lines.len() == 1 => Some(range),
        _ => Some(Asked::Several),
    }
}

fn range(text: &str) -> Option<Asked> {
    let (start, end) = text.split_once('-')?;
    match (start, end) {
        ("", count) => Some(Asked::Last(number(count)?)),
        (start, "") => Some(Asked::From(number(start)?, u64::MAX)),
        (start, end) => {
            let (start, end) = (number(start)?, number(end)?);
            (start <= end).then_some(Asked::From(start, end))
        }
    }
}

/// A number of any length; one that is too long is as good as the largest.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TAG: &str = "\"sha256-aa\"";
    const SIZE: u64 = 10;
    const WHOLE: Result<Selection, RangeError> = Ok(Selection::Whole);
    const UNSATISFIABLE: Result<Selection, RangeError> = Err(RangeError::Unsatisfiable);

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        let pairs = pairs.map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    fn of_size(range: &str, size: u64) -> Result<Selection, RangeError> {
        select(
            &headers(&[("range", range)]),
            QueryRange::default(),
            TAG,
            size,
        )
    }

    fn of(range: &str) -> Result<Selection, RangeError> {
        of_size(range, SIZE)
    }

    fn part(range: Range<u64>) -> Result<Selection, RangeError> {
        Ok(Selection::Part(range))
    }

    fn query(start: impl Into<Option<u64>>, end: impl Into<Option<u64>>) -> QueryRange {
        QueryRange {
            start: start.into(),
            end: end.into(),
        }
    }

    #[test]
    fn without_a_range_all_is_sent() {
        let selected = select(&headers(&[]), QueryRange::default(), TAG, SIZE);
        assert_eq!(selected, WHOLE);
    }

    #[test]
    fn both_ends_are_sent_and_the_end_is_cut() {
        assert_eq!(of("bytes=0-0"), part(0..1));
        assert_eq!(of("bytes=2-4"), part(2..5));
        assert_eq!(of("bytes=2-"), part(2..10));
        assert_eq!(of("bytes=2-9"), part(2..10));
        assert_eq!(of("bytes=2-10"), part(2..10));
        assert_eq!(of("bytes=2-99999999999999999999999"), part(2..10));
        assert_eq!(of("bytes=0-18446744073709551615"), part(0..10));
        assert_eq!(of("Bytes= 2-4 "), part(2..5));
        assert_eq!(of("bytes=,2-4,"), part(2..5));
    }

    #[test]
    fn a_start_at_the_end_or_past_it_is_unsatisfiable() {
        for range in ["bytes=10-", "bytes=10-20", "bytes=99999999999999999999999-"] {
            assert_eq!(of(range), UNSATISFIABLE, "{range}");
        }
    }

    #[test]
    fn a_suffix_is_the_last_bytes_all_of_them_when_there_are_less() {
        assert_eq!(of("bytes=-3"), part(7..10));
        assert_eq!(of("bytes=-10"), part(0..10));
        assert_eq!(of("bytes=-11"), part(0..10));
        assert_eq!(of("bytes=-0"), UNSATISFIABLE);
    }

    #[test]
    fn of_an_empty_content_any_suffix_is_all_of_it_and_nothing_else_is_there() {
        assert_eq!(of_size("bytes=-5", 0), WHOLE);
        assert_eq!(of_size("bytes=-0", 0), WHOLE);
        assert_eq!(of_size("bytes=0-", 0), UNSATISFIABLE);
        assert_eq!(of_size("bytes=0-0", 0), UNSATISFIABLE);
        let selected = select(&headers(&[]), query(0, None), TAG, 0);
        assert_eq!(selected, UNSATISFIABLE);
    }

    #[test]
    fn several_ranges_are_unsatisfiable() {
        assert_eq!(of("bytes=0-1,3-4"), UNSATISFIABLE);
        assert_eq!(of("bytes=0-1, -1"), UNSATISFIABLE);
        let two_lines = headers(&[("range", "bytes=0-1"), ("range", "bytes=3-4")]);
        let selected = select(&two_lines, QueryRange::default(), TAG, SIZE);
        assert_eq!(selected, UNSATISFIABLE);
    }

    #[test]
    fn what_is_no_range_of_bytes_is_as_if_it_was_not_there() {
        for range in [
            "lines=0-1",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=x-1",
            "bytes=1-x",
            "bytes=+1-2",
            "bytes=1 - 2",
            "bytes=4-2",
            "bytes=0-1,x",
            "0-1",
        ] {
            assert_eq!(of(range), WHOLE, "{range}");
        }
    }

    #[test]
    fn if_range_takes_the_strong_tag_and_nothing_else() {
        let with = |if_range: &str| {
            let headers = headers(&[("range", "bytes=2-4"), ("if-range", if_range)]);
            select(&headers, QueryRange::default(), TAG, SIZE)
        };
        assert_eq!(with(TAG), part(2..5));
        for other in [
            "W/\"sha256-aa\"",
            "\"sha256-bb\"",
            "sha256-aa",
            "*",
            "Wed, 21 Oct 2015 07:28:00 GMT",
        ] {
            assert_eq!(with(other), WHOLE, "{other}");
        }
    }

    #[test]
    fn if_range_of_another_content_makes_an_unsatisfiable_range_the_whole() {
        let headers = headers(&[("range", "bytes=99-"), ("if-range", "\"sha256-bb\"")]);
        assert_eq!(select(&headers, QueryRange::default(), TAG, SIZE), WHOLE);
    }

    #[test]
    fn the_query_names_both_ends() {
        let of = |query| select(&headers(&[]), query, TAG, SIZE);
        assert_eq!(of(query(2, 4)), part(2..5));
        assert_eq!(of(query(2, None)), part(2..10));
        assert_eq!(of(query(None, 4)), part(0..5));
        assert_eq!(of(query(2, 99)), part(2..10));
        assert_eq!(of(query(0, u64::MAX)), part(0..10));
        assert_eq!(of(query(10, None)), UNSATISFIABLE);
        assert_eq!(of(query(4, 2)), Err(RangeError::Backwards));
    }

    #[test]
    fn if_range_is_of_the_header_alone() {
        let headers = headers(&[("if-range", "\"sha256-bb\"")]);
        assert_eq!(select(&headers, query(2, 4), TAG, SIZE), part(2..5));
    }

    #[test]
    fn header_and_query_must_ask_for_the_same_bytes() {
        let both = |range: &str, query| select(&headers(&[("range", range)]), query, TAG, SIZE);
        assert_eq!(both("bytes=2-4", query(2, 4)), part(2..5));
        assert_eq!(both("bytes=-8", query(2, None)), part(2..10));
        assert_eq!(both("bytes=10-", query(11, None)), UNSATISFIABLE);
        for other in [query(2, 5), query(None, 4), query(10, None)] {
            let disagreement = Err(RangeError::Disagreement);
            assert_eq!(both("bytes=2-4", other), disagreement, "{other:?}");
        }
        assert_eq!(both("lines=1-2", query(2, 4)), part(2..5));
    }
}
