//! The causes that the occurrences of one fault have, as the server names them. Pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Limit of different causes of one fault. The protocol has fewer; a server that sends more of
/// them must not make a recorder grow.
const MAX_CAUSES: usize = 16;
/// Longest text of a cause, in characters.
const MAX_CAUSE_CHARS: usize = 100;
/// What causes above [`MAX_CAUSES`] count as.
const OTHER: &str = "other causes";

/// How often each cause led to a fault: a close code (`1009`), an HTTP status with the text of the
/// answer (`429 too many connections from this address`), or an error code (`bad_queue`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FaultCauses(BTreeMap<String, u64>);

impl FaultCauses {
    /// Counts `many` occurrences with this cause.
    pub fn add(&mut self, cause: &str, many: u64) {
        if let Some(count) = self.0.get_mut(cause) {
            *count += many;
            return;
        }
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let text: String = cause.chars().take(MAX_CAUSE_CHARS).map(shown).collect();
        let is_new = !self.0.contains_key(&text);
        let text = if is_new && self.0.len() >= MAX_CAUSES { OTHER.to_owned() } else { text };
        *self.0.entry(text).or_default() += many;
    }

    /// Adds the causes of another recorder.
    pub fn merge(&mut self, other: &FaultCauses) {
        other.iter().for_each(|(cause, count)| self.add(cause, count));
    }

    /// Each cause with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(cause, count)| (cause.as_str(), *count))
    }

    /// How often the causes that begin with `word` occurred; the word is followed by a space or
    /// the end.
    pub fn count(&self, word: &str) -> u64 {
        let begins = |cause: &str| cause.split(' ').next() == Some(word);
        self.iter().filter(|(cause, _)| begins(cause)).map(|(_, count)| count).sum()
    }

    /// Whether no cause is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The cause of a refusal by an HTTP answer: the status, and the first line of the body if that is
/// a text for human readers, or its `status` if it is a JSON object with one.
pub fn http_cause(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct StatusDocument<'a> {
        status: &'a str,
    }
    if let Ok(StatusDocument { status: word }) = serde_json::from_slice(body) {
        return format!("{status} {word}");
    }
    let text = std::str::from_utf8(body).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default().trim();
    match line.is_empty() || line.starts_with(['{', '[', '<']) {
        true => status.to_string(),
        false => format!("{status} {line}"),
    }
}

/// The meaning of a close code (RFC 6455 §7.4.1, `src/wire/PROTOCOL.md`); empty if it has none.
pub fn close_code_meaning(code: &str) -> &'static str {
    match code {
        "1000" => "normal closure",
        "1001" => "the session was silent for too long, or the server is going away",
        "1002" => "a frame broke RFC 6455",
        "1007" => "a text was not UTF-8",
        "1008" => "a message had too many fragments or did not end",
        "1009" => "a message was too large",
        "1011" => "an internal error of the server",
        "1012" => "the server is restarting",
        "1013" => "the generator did not read fast enough",
        "4001" => "the session was resumed on another connection",
        "4003" => "banned",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_make_the_causes_grow() {
        let mut causes = FaultCauses::default();
        (0..1000).for_each(|i| causes.add(&format!("{i}{}", "x".repeat(1000)), 1));
        assert_eq!(causes.iter().count(), MAX_CAUSES + 1);
        assert_eq!(causes.iter().map(|(_, count)| count).sum::<u64>(), 1000);
        assert!(causes.iter().all(|(cause, _)| cause.len() <= MAX_CAUSE_CHARS));
        causes.add("7\n8", 1);
        assert!(causes.iter().all(|(cause, _)| !cause.contains('\n')));
    }

    #[test]
    fn a_cause_is_the_first_line_of_a_text_and_no_markup() {
        assert_eq!(http_cause(429, b"too many\r\nmore"), "429 too many");
        assert_eq!(http_cause(503, b"{\"status\":\"draining\",\"rooms\":1}"), "503 draining");
        for body in [&b""[..], b"{\"status\":7}", b"{\"status\":\"dr", b"<html>", b"\xff\xfe"] {
            assert_eq!(http_cause(503, body), "503");
        }
    }

    #[test]
    fn counts_by_the_first_word() {
        let mut causes = FaultCauses::default();
        for (cause, many) in [("503", 1), ("503 too many connections", 2), ("5030", 4)] {
            causes.add(cause, many);
        }
        assert_eq!((causes.count("503"), causes.count("404")), (3, 0));
    }
}
