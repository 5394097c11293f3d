//! Floats that survive a hurried reader.
//!
//! RedisJSON reads a float as its digits times a power of ten, both rounded, which is off by a unit
//! in the last place for one float in ten. A float is therefore written with digits that such a
//! reader and an exact one take for this very float. For one in five hundred there are none; those
//! are set right where they are kept, by adding what is missing.

use std::io::{self, Write};

use serde_json::ser::Formatter;
use serde_json::{Number, Value};

use super::Data;

/// Compact JSON with such floats.
#[derive(Default)]
pub(super) struct ExactFloats {
    /// How many must be set right.
    pub stray: usize,
    /// How many the JSON module may write otherwise: those with an exponent, which has more than
    /// one way to be written, and negative zero.
    pub unusual: usize,
}

impl Formatter for &mut ExactFloats {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let text = text(value);
        self.unusual += usize::from(text.contains('e') || text == "-0.0");
        self.stray += usize::from(read_hurriedly(&text) != Some(value));
        writer.write_all(text.as_bytes())
    }
}

/// How to set a float right that a hurried reader has got wrong.
#[derive(Debug, PartialEq)]
pub(super) struct Correction {
    /// Where it is in the envelope, as JSONPath.
    pub path: String,
    /// What it should be.
    pub value: String,
    /// What to add to what it is.
    pub missing: String,
}

/// A correction for each float that no digits keep right. RedisJSON cannot name fields with a
/// backslash, or with both kinds of quotes; below those a float may stay off by a unit in its last
/// place.
pub(super) fn corrections(data: &Data) -> Vec<Correction> {
    let mut found = Vec::new();
    correct_fields(data, "$.data", &mut found);
    found
}

fn correct_fields(fields: &Data, path: &str, found: &mut Vec<Correction>) {
    for (name, value) in fields {
        let quote = if name.contains('"') { '\'' } else { '"' };
        if !name.contains(['\\', quote]) {
            correct(value, &|| format!("{path}[{quote}{name}{quote}]"), found);
        }
    }
}

/// The path is made for the few values that need it.
fn correct(value: &Value, path: &dyn Fn() -> String, found: &mut Vec<Correction>) {
    match value {
        Value::Object(fields) => correct_fields(fields, &path(), found),
        Value::Array(items) => {
            let path = path();
            for (index, item) in items.iter().enumerate() {
                correct(item, &|| format!("{path}[{index}]"), found);
            }
        }
        Value::Number(number) if number.is_f64() => {
            let value = number.as_f64().unwrap_or_default();
            let text = text(value);
            if let Some(read) = read_hurriedly(&text).filter(|&read| read != value) {
                found.push(Correction {
                    path: path(),
                    value: text,
                    missing: format!("{:e}", value - read),
                });
            }
        }
        _ => {}
    }
}

fn text(value: f64) -> String {
    // JSON has no other floats, and `Value` holds none.
    let shortest = Number::from_f64(value).map_or_else(|| "null".to_owned(), |it| it.to_string());
    if read_hurriedly(&shortest) == Some(value) {
        return shortest;
    }
    [(15, 1), (16, 1), (17, 5), (18, 50)]
        .into_iter()
        .flat_map(|(decimals, stride)| neighbours(value, decimals, stride))
        .find(|text| read_hurriedly(text) == Some(value) && text.parse() == Ok(value))
        .unwrap_or(shortest)
}

/// Decimal numbers of one digit more than `decimals` around the float, the nearest first, `stride`
/// units of the last digit apart.
fn neighbours(value: f64, decimals: usize, stride: u64) -> impl Iterator<Item = String> {
    let text = format!("{:.decimals$e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: u64 = mantissa.replace('.', "").parse().unwrap_or_default();
    let exponent = exponent.parse().unwrap_or(0_i64) - decimals as i64;
    let sign = if value < 0.0 { "-" } else { "" };
    (0..20)
        .flat_map(move |step| [digits + step * stride, digits.saturating_sub(step * stride)])
        .map(move |digits| format!("{sign}{digits}e{exponent}"))
}

/// What a hurried reader takes a JSON float for; nothing when it would refuse it.
fn read_hurriedly(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let mut exponent: i32 = exponent.parse().ok()?;
    let unsigned = mantissa.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    exponent -= i32::try_from(fraction.len()).ok()?;
    let mut value = format!("{whole}{fraction}").parse::<u64>().ok()? as f64;
    // The table of powers ends at 308.
    if exponent < -308 {
        value /= 1e308;
        exponent += 308;
    }
    let power: f64 = format!("1e{}", exponent.abs()).parse().ok()?;
    if exponent < 0 {
        value /= power;
    } else {
        value *= power;
    }
    value
        .is_finite()
        .then_some(if unsigned == mantissa { value } else { -value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_every_float_has_digits_that_both_readers_agree_on() {
        let (mut all, mut agreed) = (0, 0);
        let mut bits = 1_u64;
        for _ in 0..20_000 {
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            for value in [f64::from_bits(bits), bits as f64 / u64::MAX as f64] {
                if value.is_finite() {
                    let text = text(value);
                    assert_eq!(text.parse(), Ok(value));
                    all += 1;
                    agreed += u32::from(read_hurriedly(&text) == Some(value));
                }
            }
        }
        assert!(agreed > all / 1_000 * 995, "{agreed} of {all}");
    }

    #[test]
    fn a_float_that_needs_no_care_is_written_as_usual() {
        for (value, expected) in [(1.0, "1.0"), (-0.0, "-0.0"), (0.1, "0.1"), (1e20, "1e+20")] {
            assert_eq!(text(value), expected);
        }
    }
}
