//! The `Convex-Client` header (section 3 of the wire contract).

use axum::http::HeaderValue;

use super::error::RequestError;

/// The last versions that Convex refuses, by client.
const UNSUPPORTED: [(&str, [u64; 3]); 6] = [
    ("npm", [0, 19, 1]),
    ("npm-cli", [0, 19, 1]),
    ("actions", [0, 19, 1]),
    ("python", [0, 0, 2]),
    ("python-convex", [0, 0, 2]),
    ("rust", [0, 0, 1]),
];

/// Checks the optional `Convex-Client: <client>-<version>` header. Errors: 400
/// `InvalidClientVersion` or `ClientVersionUnsupported`.
pub(super) fn check_client(header: Option<&HeaderValue>) -> Result<(), RequestError> {
    let Some(header) = header else { return Ok(()) };
    let invalid = |value: &str| {
        RequestError::bad_request(
            "InvalidClientVersion",
            format!("The Convex-Client header {value:?} is not of the form <client>-<version>."),
        )
    };
    let value = header.to_str().map_err(|_| invalid("(not text)"))?;
    if !value.contains('-') {
        return Err(invalid(value));
    }
    // The longest suffix after a dash that is a version; without one, any client is welcome.
    let dashes = value.match_indices('-').map(|(at, _)| at);
    let parsed = dashes
        .map(|at| (&value[..at], &value[at + 1..]))
        .find_map(|(client, version)| {
            parse_version(version).map(|version| (client.to_ascii_lowercase(), version))
        });
    let refused = parsed.is_some_and(|(client, version)| {
        let last = UNSUPPORTED.iter().find(|(known, _)| *known == client);
        last.is_some_and(|(_, last)| version <= *last)
    });
    if refused {
        return Err(RequestError::bad_request(
            "ClientVersionUnsupported",
            format!("The client {value:?} is no longer supported. Please update it."),
        ));
    }
    Ok(())
}

/// Major, minor and patch of a semantic version.
fn parse_version(text: &str) -> Option<[u64; 3]> {
    let core_end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(core_end);
    let well_formed = |part: &str| {
        let identifiers = part.split('.');
        identifiers.clone().all(|identifier| {
            !identifier.is_empty()
                && identifier
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    let (pre_release, build) = match rest.split_once('+') {
        Some((pre_release, build)) => (pre_release, Some(build)),
        None => (rest, None),
    };
    let pre_release = pre_release.strip_prefix('-');
    if !pre_release.is_none_or(well_formed) || !build.is_none_or(well_formed) {
        return None;
    }
    let numbers: Option<Vec<u64>> = core
        .split('.')
        .map(|number| {
            let canonical = number == "0" || !number.starts_with('0');
            number
                .parse()
                .ok()
                .filter(|_| canonical && !number.starts_with('+'))
        })
        .collect();
    numbers?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn clients_are_refused_only_by_form_or_age() {
        let outcome = |value: &'static str| {
            let header = HeaderValue::from_static(value);
            check_client(Some(&header)).map_or_else(|error| error.code, |()| "")
        };
        assert_eq!(outcome("airbyte"), "InvalidClientVersion");
        for accepted in [
            "airbyte-export-0.4.0",
            "foo-bar",
            "streaming-import-0.0.1",
            "npm-1.0.0-alpha.1",
            "rust-0.0.2",
            "npm-1.2.3.4",
        ] {
            assert_eq!(outcome(accepted), "", "{accepted}");
        }
        assert_eq!(outcome("npm-cli-0.19.1"), "ClientVersionUnsupported");
        assert_eq!(outcome("rust-0.0.1"), "ClientVersionUnsupported");
    }
}
