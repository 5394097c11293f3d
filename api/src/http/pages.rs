//! Pages of listings: how many they hold, and the cursor that leads from one to the next.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::error::ApiError;

/// Most entries or documents on a page, and as many as there are without a wish.
const MAX_LIMIT: usize = 1000;
const DEFAULT_LIMIT: usize = 100;

/// The version of the cursors that are handed out.
const VERSION: u8 = 1;

/// Where a listing goes on: numbers whose meaning is the listing's own.
///
/// Callers see one text, which they only hand back: base64url of a version and the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor<const N: usize>(pub [u64; N]);

impl<const N: usize> Cursor<N> {
    /// Reads the `cursor` of a query.
    ///
    /// # Errors
    /// [`ApiError::InvalidRequest`] for what is none, none of this listing, or of another version.
    pub(crate) fn read(text: &str) -> Result<Self, ApiError> {
        let cursor = || {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
            let (&VERSION, places) = bytes.split_first()? else {
                return None;
            };
            let (places, []) = places.as_chunks() else {
                return None;
            };
            let places = <&[_; N]>::try_from(places).ok()?;
            Some(Self(places.map(u64::from_be_bytes)))
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
        let mut bytes = vec![VERSION];
        bytes.extend(self.0.iter().flat_map(|place| place.to_be_bytes()));
        out.write_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
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
        }
    }

    #[test]
    fn what_is_no_cursor_of_this_version_and_listing_is_refused() {
        let text = Cursor([7, 9]).to_string();
        let of_another_version = text.replacen("AQ", "Ag", 1);
        let of_another_listing = Cursor([7]).to_string();
        let long = format!("{text}AAAA");
        let texts = [
            "",
            "AQ",
            "é",
            &of_another_version,
            &of_another_listing,
            &long,
        ];
        for text in texts {
            let message = Cursor::<2>::read(text).unwrap_err().to_string();
            assert!(message.starts_with("cursor: "), "{text}: {message}");
        }
    }
}
