//! What a value has to be like. Errors say the rule, never the value: it may be secret.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};

use axum::http::HeaderValue;
use sluice_api::auth::{check_group, check_tenant};
use sluice_convex::Secret;
use sluice_jobs::schedules::Schedule;
use sluice_jobs::schedules::cron::Cron;
use sluice_store::documents::is_name;
use sluice_valkey::Address;
use url::Url;

/// HS256 asks for a key at least as long as its hash.
const SHORTEST_SECRET: usize = 32;

/// An address that may hold a password, which is why it is not printed.
#[derive(Clone)]
pub struct ValkeyUrl(pub(super) String);

impl fmt::Debug for ValkeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValkeyUrl(…)")
    }
}

/// A whole number from `MIN` to `MAX`.
pub fn between<const MIN: u64, const MAX: u64, T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    text.parse()
        .ok()
        .filter(|number| (MIN..=MAX).contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("must be a whole number from {MIN} to {MAX}"))
}

/// A user id as the API takes it.
pub fn user(text: &str) -> Result<String, String> {
    sluice_jobs::meta::check_user(text)?;
    Ok(text.to_owned())
}

/// The name of a tenant as tokens have it.
pub fn tenant(text: &str) -> Result<String, String> {
    check_tenant(text)?;
    Ok(text.to_owned())
}

/// The name of a group as tokens have it.
pub fn group(text: &str) -> Result<String, String> {
    check_group(text)?;
    Ok(text.to_owned())
}

/// The name of a service that has documents.
pub(super) fn service(text: &str) -> Result<String, String> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 128 of letters, digits, `_`, `-`, `.` and `:`".to_owned())
}

/// An origin as browsers send it (RFC 6454): scheme, host, and the port if it is not the scheme's.
pub(super) fn origin(text: &str) -> Result<HeaderValue, String> {
    let url = http_url(text)?;
    let origin = url.origin().ascii_serialization();
    if origin != text {
        return Err(format!(
            "must be an origin and nothing else, such as {origin}"
        ));
    }
    HeaderValue::try_from(origin).map_err(|error| error.to_string())
}

/// Where to listen: an address or a name, with a port. Of a name's addresses one of IPv4 is taken
/// before one of IPv6.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let addresses: Vec<SocketAddr> = text.to_socket_addrs().into_iter().flatten().collect();
    let v4 = addresses.iter().find(|address| address.is_ipv4());
    v4.or(addresses.first()).copied().ok_or_else(|| {
        "must be an address or a name of this machine with a port, such as 127.0.0.1:8080 or localhost:8080"
            .to_owned()
    })
}

/// A cron expression with seconds, or `off`.
pub(super) fn schedule(text: &str) -> Result<String, String> {
    if text != "off" {
        Cron::parse(text, "UTC").map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

pub(super) fn zone(text: &str) -> Result<String, String> {
    let every_day = Cron::parse("0 0 0 * * *", text);
    every_day.map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// The schedules of a file, by name.
#[derive(Clone, Debug, Default)]
pub struct Schedules(pub BTreeMap<String, Schedule>);

pub(super) fn schedules(path: &str) -> Result<Schedules, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let schedules: BTreeMap<String, Schedule> =
        toml::from_str(&text).map_err(|error| error.to_string())?;
    for (name, schedule) in &schedules {
        let checked = schedule.check(name);
        checked.map_err(|error| format!("[{name}] {error}"))?;
    }
    Ok(Schedules(schedules))
}

/// From one second to a year: Valkey takes times to live in milliseconds, and zero would mean "at
/// once".
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    between::<1, 31_536_000, u64>(text)
}

pub fn secret(text: &str) -> Result<Secret, String> {
    match text.trim() {
        "" => Err("must not be empty".to_owned()),
        text => Ok(Secret::from(text.to_owned())),
    }
}

pub(super) fn dev_secret(text: &str) -> Result<Secret, String> {
    let secret = secret(text)?;
    if secret.expose().len() < SHORTEST_SECRET {
        return Err(format!("must have at least {SHORTEST_SECRET} bytes"));
    }
    Ok(secret)
}

pub(super) fn http_url(text: &str) -> Result<Url, String> {
    url_of(text, &["http", "https"])
}

/// Where contents of files can be kept.
pub(super) fn objects_url(text: &str) -> Result<Url, String> {
    const SCHEMES: [&str; 4] = ["file", "s3", "gs", "az"];
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let names_a_place = match url.scheme() {
        "file" => url.to_file_path().is_ok(),
        _ => url.has_host(),
    };
    if SCHEMES.contains(&url.scheme()) && names_a_place {
        return Ok(url);
    }
    Err("must be like file:///folder, s3://bucket, gs://bucket or az://container".to_owned())
}

pub(super) fn valkey_url(text: &str) -> Result<ValkeyUrl, String> {
    match Address::parse(text) {
        Ok(_) => Ok(ValkeyUrl(text.to_owned())),
        Err(error) => Err(format!(
            "{error}; what an address gives a meaning, such as @, / and # in a password, has to be percent-encoded"
        )),
    }
}

/// An address with one of `schemes`. The text stays out of the errors: it may hold a password.
fn url_of(text: &str, schemes: &[&str]) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if schemes.contains(&url.scheme()) && url.has_host() {
        Ok(url)
    } else {
        Err(format!("must start with {}://", schemes.join(":// or ")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_short_development_secret_is_refused() {
        assert!(dev_secret(&"x".repeat(31)).is_err());
        assert!(dev_secret(&"x".repeat(32)).is_ok());
    }

    #[test]
    fn an_origin_is_as_browsers_send_it() {
        for text in ["https://app.example.com", "http://localhost:3000"] {
            assert_eq!(origin(text).unwrap(), text);
        }
        for text in [
            "*",
            "https://a.example/",
            "https://a.example:443",
            "a.example",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_can_be_listened_on() {
        assert_eq!(listen("localhost:8080").unwrap().port(), 8080);
        assert!(listen("localhost:8080").unwrap().ip().is_loopback());
        assert_eq!(listen("[::1]:1").unwrap(), "[::1]:1".parse().unwrap());
        for text in ["localhost", "8080", "", ":8080", "127.0.0.1:99999"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_with_a_bare_mark_in_its_password_is_refused_with_the_rule() {
        for text in ["redis://:a/b@host:6379", "redis://:a#b@host:6379"] {
            let rule = valkey_url(text).unwrap_err();
            assert!(rule.contains("percent-encoded"), "{rule}");
        }
    }

    #[test]
    fn a_number_that_is_none_or_out_of_bounds_is_told_the_rule() {
        for text in [
            "abc",
            "",
            "-1",
            "1.5",
            "0",
            "101",
            "99999999999999999999999",
        ] {
            let error = between::<1, 100, u32>(text).unwrap_err();
            assert_eq!(error, "must be a whole number from 1 to 100", "{text}");
        }
        assert_eq!(between::<1, 100, u32>("100").unwrap(), 100);
        assert!(between::<0, 4_294_967_296, u32>("4294967296").is_err());
    }

    #[test]
    fn contents_are_kept_in_a_folder_or_a_cloud() {
        for text in ["file:///var/lib/sluice", "s3://b", "gs://b/p", "az://c/p"] {
            assert!(objects_url(text).is_ok(), "{text}");
        }
        for text in [
            "/var/lib/sluice",
            "file://host/a",
            "s3:b",
            "memory:///",
            "http://b",
        ] {
            assert!(objects_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_needs_its_scheme_and_a_host() {
        assert!(http_url("https://name-1.convex.cloud").is_ok());
        assert!(http_url("ftp://host").is_err());
        assert!(valkey_url("redis://127.0.0.1:6379").is_ok());
        assert!(valkey_url("rediss://sluice:p%40ss@valkey.example:6380/1").is_ok());
        assert!(valkey_url("unix:///run/valkey.sock").is_ok());
        assert!(valkey_url("127.0.0.1:6379").is_err());
    }
}
