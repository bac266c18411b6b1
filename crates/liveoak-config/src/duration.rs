//! Durations as the file writes them: `500ms`, `5s`, `1m30s`, `2h`.

use crate::bounds::MAX_DURATION;
use std::time::Duration;

/// The units of a duration, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration such as `500ms`, `5s`, `1m30s` or `2h`: whole numbers with units, the longest unit first.
///
/// # Errors
/// Returns the reason, as a predicate for the subject "this".
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.contains('.') {
        return Err("has a fraction; use a smaller unit, as in \"1500ms\"".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("has no unit; write \"{}s\" for seconds", text.get(..12).unwrap_or(text)));
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.chars().take_while(|c| !c.is_ascii_digit()).map(char::len_utf8).sum();
        let (unit, tail) = tail.split_at(letters);
        if number.is_empty() {
            return Err(format!("has no number before `{}`", short(unit)));
        }
        let Some(index) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(match unit {
                "" => format!("has no unit after `{}`", short(number)),
                _ => format!("has an unknown unit `{}`; the units are d, h, m, s, ms", short(unit)),
            });
        };
        if index < next_unit {
            return Err("has its units twice or out of order; the longest comes first".to_owned());
        }
        next_unit = index + 1;
        let sum = number.parse::<u64>().ok().and_then(|n| n.checked_mul(UNITS[index].1));
        total = sum.and_then(|ms| total.checked_add(ms)).ok_or_else(too_long)?;
        rest = tail;
    }
    let duration = Duration::from_millis(total);
    if duration > MAX_DURATION { Err(too_long()) } else { Ok(duration) }
}

fn too_long() -> String {
    format!("is too long; the longest is {}", format_duration(MAX_DURATION))
}

/// Cuts a piece of a value for a message.
fn short(text: &str) -> String {
    text.chars().take(12).collect()
}

/// Writes a duration as the file would have it.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (name, size) in UNITS {
        if rest >= size {
            out.push_str(&format!("{}{name}", rest / size));
            rest %= size;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_units_longest_first() {
        let ms = |text| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("5s"), Ok(5000));
        assert_eq!(ms("1m30s"), Ok(90_000));
        assert_eq!(ms("2h"), Ok(7_200_000));
        assert_eq!(ms("1d2h3m4s5ms"), Ok(93_784_005));
        assert_eq!(ms("0s"), Ok(0));
        assert_eq!(ms("3650d"), Ok(MAX_DURATION.as_millis()));
    }

    #[test]
    fn wrong_durations_are_refused_with_the_reason() {
        let cases = [
            ("", "is empty"),
            ("5", "write \"5s\""),
            ("1.5s", "fraction"),
            ("5x", "unknown unit `x`"),
            ("s", "no number before `s`"),
            ("1m30", "no unit after `30`"),
            ("30s1m", "out of order"),
            ("1s1s", "twice"),
            ("-5s", "no number before `-`"),
            ("5 s", "unknown unit ` s`"),
            ("3651d", "too long"),
            ("99999999999999999999s", "too long"),
            ("18446744073709551615h", "too long"),
            ("５s", "no number before"),
        ];
        for (text, part) in cases {
            let error = parse_duration(text).expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_formatted_duration_is_parsed_as_the_same_duration() {
        for ms in [0, 1, 999, 1000, 90_000, 7_200_000, 93_784_005] {
            let given = Duration::from_millis(ms);
            assert_eq!(parse_duration(&format_duration(given)), Ok(given));
        }
    }
}
