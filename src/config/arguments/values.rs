//! Notations of values that several flags share. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration in the notation of the flags: `800ms`, `5s`, `1m 30s`, or `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(HumanDuration)
            .map_err(|error| format!("{error}; write a duration like 800ms, 5s or 1m"))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_S: u64 = 24 * 60 * 60;
        match self.0.as_secs() {
            // humantime would write 366 days as `1year 18h`.
            seconds if seconds > 0 && self.0 == Duration::from_secs(seconds / DAY_S * DAY_S) => {
                write!(f, "{}d", seconds / DAY_S)
            }
            _ => humantime::format_duration(self.0).fmt(f),
        }
    }
}

/// Parses one of several values that commas separate. Spaces around it are not part of it.
pub(super) fn trimmed<T: FromStr>(text: &str) -> Result<T, T::Err> {
    text.trim().parse()
}

/// Parses a size in bytes: `65536`, `64k`, `1M` or `1GiB`. A unit is a power of 1024.
pub(super) fn byte_size(text: &str) -> Result<usize, String> {
    let malformed = || "write a number of bytes like 65536, 64k or 1M".to_owned();
    let text = text.trim();
    let digits_end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let unit = unit.to_ascii_lowercase();
    let unit_name = unit.strip_suffix("ib").unwrap_or(&unit);
    let factor: usize = match unit_name {
        "" if unit.is_empty() => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return Err(malformed()),
    };
    let number: usize = digits.parse().map_err(|_| malformed())?;
    number.checked_mul(factor).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_may_have_a_unit_of_a_power_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("64k", 65_536),
            ("64K", 65_536),
            ("64KiB", 65_536),
            ("1M", 1_048_576),
            ("1mib", 1_048_576),
            (" 1G ", 1 << 30),
        ] {
            assert_eq!(byte_size(text), Ok(bytes), "{text:?}");
        }
        for wrong in ["", "k", "ib", "1ib", "64kB", "1.5M", "-1", "1T", "99999999999G", "64 k"] {
            assert!(byte_size(wrong).unwrap_err().contains("64k"), "{wrong:?}");
        }
    }
}
