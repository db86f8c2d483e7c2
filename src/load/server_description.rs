//! What is known of the server under test: its version and settings, as `/stats` reports them.

use super::target_address::{TargetAddress, http_get};
use serde_json::Value;
use std::collections::BTreeMap;

/// Names, and the places in `/stats` of a Switchboard server where their values are.
const SETTINGS: [(&str, &str); 4] = [
    ("version", "/version"),
    ("limit of connections", "/connections/limit"),
    ("limit of descriptors", "/process/descriptors_allowed"),
    ("descriptor tables", "/process/descriptor_tables"),
];

/// Asks a server for its version and settings; empty if it reports none.
pub fn describe(stats: &TargetAddress) -> BTreeMap<String, String> {
    match http_get(stats, &stats.path) {
        Ok((200, body)) => read(&body),
        Ok(_) | Err(_) => BTreeMap::new(),
    }
}

fn read(json: &[u8]) -> BTreeMap<String, String> {
    let stats: Value = serde_json::from_slice(json).unwrap_or_default();
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let of = |(name, path): (&str, &str)| Some((name.to_owned(), text(stats.pointer(path)?)?));
    let mut settings: BTreeMap<String, String> = SETTINGS.into_iter().filter_map(of).collect();
    if let Some(shards) = stats["shards"].as_array() {
        settings.insert("shards".to_owned(), shards.len().to_string());
        let pinned = shards.iter().filter(|shard| shard["cpu"].is_number()).count();
        settings.insert("pinned shards".to_owned(), pinned.to_string());
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_version_and_settings_and_leaves_out_what_is_missing() {
        let json =
            br#"{"version":"0.2.0","connections":{"limit":900},"shards":[{"cpu":3},{"cpu":null}]}"#;
        let found = read(json);
        let found: Vec<_> =
            found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let limit = ("limit of connections", "900");
        assert_eq!(found, [limit, ("pinned shards", "1"), ("shards", "2"), ("version", "0.2.0")]);
        assert!(read(b"no JSON").is_empty());
    }
}
