//! One name for one thing: no two types of the crate share a name.

use super::tree::sources;
use std::collections::BTreeMap;

#[test]
fn type_names_are_unique_in_the_crate() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources() {
        for found in file.types() {
            places.entry(found.name).or_default().push(format!("{}:{}", file.path, found.line));
        }
    }
    let repeated: Vec<String> = places
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    assert!(repeated.is_empty(), "type names that exist more than once:\n{}", repeated.join("\n"));
}
