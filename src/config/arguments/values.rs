//! Notations of values that several flags share, as parsers for clap. They read nothing but their
//! argument.

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};
use std::ffi::OsStr;
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

/// Separates the values of a list.
pub(super) const COMMA: &[char] = &[','];
/// Separates the values of a list whose values contain commas.
pub(super) const SPACE: &[char] = &[' '];
/// Separates the values of a list whose values contain neither.
pub(super) const COMMA_OR_SPACE: &[char] = &[',', ' '];

/// A parser of one value. Spaces around the value are not part of it: templates of containers leave
/// them there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trimmed<P>(pub P);

impl<P: TypedValueParser> TypedValueParser for Trimmed<P> {
    type Value = P::Value;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, Error> {
        self.0.parse_ref(command, arg, trimmed(value))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

/// The values of one occurrence of a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueList<T>(pub Vec<T>);

/// The values of all occurrences of a flag, in their order.
pub fn all_values<T: Clone>(lists: &[ValueList<T>]) -> Vec<T> {
    lists.iter().flat_map(|list| list.0.iter().cloned()).collect()
}

/// A parser of a list of values. Spaces around a value are not part of it, and empty values are
/// ignored.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListParser<P> {
    /// Parses one value.
    pub value: P,
    /// The characters that separate values.
    pub separators: &'static [char],
}

impl<P: TypedValueParser> TypedValueParser for ListParser<P> {
    type Value = ValueList<P::Value>;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, Error> {
        let Some(text) = value.to_str() else {
            // The parser of a value refuses it in its own words.
            return self.value.parse_ref(command, arg, value).map(|value| ValueList(vec![value]));
        };
        let mut parts = text.split(self.separators).map(str::trim).filter(|part| !part.is_empty());
        let Some(first) = parts.next() else {
            return Err(missing_value(command, arg));
        };
        let parsed = [first].into_iter().chain(parts);
        let parsed = parsed.map(|part| self.value.parse_ref(command, arg, OsStr::new(part)));
        parsed.collect::<Result<_, _>>().map(ValueList)
    }
}

/// A flag that is given with an empty list is probably a mistake, which would allow all origins.
fn missing_value(command: &Command, arg: Option<&Arg>) -> Error {
    let mut error = Error::new(ErrorKind::InvalidValue).with_cmd(command);
    let flag = arg.map(ToString::to_string).unwrap_or_default();
    error.insert(ContextKind::InvalidArg, ContextValue::String(flag));
    error.insert(ContextKind::InvalidValue, ContextValue::String(String::new()));
    error
}

/// A value without the spaces around it. One that is not UTF-8 stays as it is.
fn trimmed(value: &OsStr) -> &OsStr {
    value.to_str().map_or(value, |text| OsStr::new(text.trim()))
}

/// Parses a size in bytes: `65536`, `64k`, `1M` or `1GiB`. A unit is a power of 1024.
pub(super) fn byte_size(text: &str) -> Result<usize, String> {
    let malformed = || "write a number of bytes like 65536, 64k or 1M".to_owned();
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
            ("1G", 1 << 30),
        ] {
            assert_eq!(byte_size(text), Ok(bytes), "{text:?}");
        }
        for wrong in
            ["", "k", "ib", "1ib", "64kB", "1.5M", "-1", "1T", "99999999999G", "64 k", " 1"]
        {
            assert!(byte_size(wrong).unwrap_err().contains("64k"), "{wrong:?}");
        }
    }
}
