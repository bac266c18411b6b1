//! Moments and lengths of time on the wire.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::{Duration, SystemTime};

/// A moment: RFC 3339 in UTC with milliseconds, such as `2026-01-31T12:00:00.250Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub SystemTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.0).fmt(f)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = humantime::TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_rfc3339(text).map(Self)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| D::Error::custom(format!("{text:?} is no moment of RFC 3339: {error}")))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "A moment: RFC 3339 in UTC with milliseconds.",
        })
    }
}

/// Returns a length of time in seconds, to the microsecond.
#[must_use]
pub fn seconds(time: Duration) -> f64 {
    // A length of time on the wire is far below the 285 years up to which this is exact.
    time.as_micros() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_utc_with_milliseconds_and_read_again() {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(1_769_860_800_250);
        let text = serde_json::to_string(&Timestamp(moment)).unwrap();
        assert_eq!(text, "\"2026-01-31T12:00:00.250Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), Timestamp(moment));
        let error = serde_json::from_str::<Timestamp>("\"today\"").unwrap_err();
        assert!(error.to_string().contains("\"today\" is no moment"), "{error}");
    }

    #[test]
    fn a_length_of_time_has_no_noise_in_its_last_digits() {
        assert_eq!(seconds(Duration::from_millis(100)).to_string(), "0.1");
        assert_eq!(seconds(Duration::from_nanos(1_234_567_891)).to_string(), "1.234567");
    }
}
