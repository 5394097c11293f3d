//! Floats that survive a hurried reader.
//!
//! RedisJSON reads a float as its digits times a power of ten, both rounded, which is off by a unit in the last place for
//! one float in ten. A float is therefore written with digits that such a reader and an exact one take for this very float.

use std::io::{self, Write};

use serde_json::Number;
use serde_json::ser::Formatter;

/// Compact JSON with such floats.
pub(super) struct ExactFloats;

impl Formatter for ExactFloats {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(text(value).as_bytes())
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

/// Decimal numbers of one digit more than `decimals` around the float, the nearest first, `stride` units of the last digit
/// apart.
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
