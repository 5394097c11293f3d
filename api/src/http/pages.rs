//! Pages of listings: how many they hold, and the cursor that leads from one to the next.

use std::fmt;

use super::error::ApiError;

/// Most entries or documents on a page, and as many as there are without a wish.
const MAX_LIMIT: usize = 1000;
const DEFAULT_LIMIT: usize = 100;

/// The version of the cursors that are handed out.
const VERSION: char = '1';
/// Digits of one number of a cursor.
const DIGITS: usize = 16;

/// Where a listing goes on: numbers whose meaning is the listing's own.
///
/// Callers see its version and, for each number, 16 hexadecimal digits. They only hand it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor<const N: usize>(pub [u64; N]);

impl<const N: usize> Cursor<N> {
    /// Reads the `cursor` of a query.
    ///
    /// # Errors
    /// [`ApiError::InvalidRequest`] for what is none, none of this listing, or of another version.
    pub(crate) fn read(text: &str) -> Result<Self, ApiError> {
        let cursor = || {
            let digits = text.strip_prefix(VERSION)?.as_bytes();
            let is_plain = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            if digits.len() != N * DIGITS || !digits.iter().all(is_plain) {
                return None;
            }
            let mut places = [0; N];
            for (place, digits) in places.iter_mut().zip(digits.chunks_exact(DIGITS)) {
                *place = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            }
            Some(Self(places))
        };
        cursor().ok_or_else(|| {
            ApiError::InvalidRequest(
                "cursor: must be one that an earlier page of this listing gave".to_owned(),
            )
        })
    }
}

impl<const N: usize> fmt::Display for Cursor<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{VERSION}")?;
        self.0
            .iter()
            .try_for_each(|place| write!(out, "{place:016x}"))
    }
}

/// How many a page of a listing may hold: `limit` as it was given, else 100.
pub(crate) fn page_limit(given: Option<&str>) -> Result<usize, ApiError> {
    given.map_or(Ok(DEFAULT_LIMIT), |given| {
        given
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| {
                ApiError::InvalidRequest(format!(
                    "limit: must be a whole number from 1 to {MAX_LIMIT}"
                ))
            })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn limits_outside_the_range_are_refused_by_name() {
        assert_eq!(page_limit(None).unwrap(), DEFAULT_LIMIT);
        assert_eq!(page_limit(Some("1000")).unwrap(), MAX_LIMIT);
        for given in ["0", "1001", "-1", "1.5", "", "many"] {
            let message = page_limit(Some(given)).unwrap_err().to_string();
            assert!(message.starts_with("limit: "), "{message}");
        }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for places in [[0, 1], [u64::MAX, 1 << 60]] {
            let text = Cursor(places).to_string();
            assert_eq!(Cursor::read(&text).unwrap(), Cursor(places));
            assert_eq!(text.len(), 1 + 2 * 16);
        }
    }

    #[test]
    fn what_is_no_cursor_of_this_version_and_listing_is_refused() {
        let text = Cursor([7, 9]).to_string();
        let of_another_version = text.replacen('1', "2", 1);
        let of_another_listing = Cursor([7]).to_string();
        let in_capitals = text.replace('9', "A");
        let signed = format!("1+{}", &text[2..]);
        let long = format!("{text}0");
        for text in [
            "",
            "1",
            &of_another_version,
            &of_another_listing,
            &in_capitals,
            &signed,
            &long,
            "1é",
        ] {
            let message = Cursor::<2>::read(text).unwrap_err().to_string();
            assert!(message.starts_with("cursor: "), "{text}: {message}");
        }
    }
}
