//! Comments, names and texts use the field's terms: words that were replaced do not come back.

use super::tree::{files, relative};
use std::fs;

/// Words that say nothing precise about a program, or that the project has replaced by a
/// standard term. Compared without case, as whole words, where `_` separates words too.
const REPLACED_WORDS: &[&str] = &[
    "whoever",
    "somebody",
    "everybody",
    "nobody",
    "anybody",
    "whomever",
    "errand",
    "errands",
    "traveller",
    "travellers",
    "muster",
    "recruit",
    "recruits",
    "desk",
    "desks",
    "crew",
    "dice",
    "doom",
    "doomed",
    "bury",
    "buried",
    "buries",
    "seldom",
    "farewell",
    "farewells",
    "crowd",
    "crowds",
    "untold",
    "unasked",
    "anew",
    "dear",
];

/// Names of types that were replaced. Compared with case, as whole words.
const REPLACED_NAMES: &[&str] = &[
    "ToShard",
    "ToMatcher",
    "Errand",
    "Wish",
    "Traveller",
    "SentBack",
    "Seat",
    "Lane",
    "Doors",
    "Shortage",
    "Parted",
    "Moment",
    "Crew",
    "Press",
    "Muster",
];

/// Lines that use a word in another sense (the system account `nobody`), or that have to name
/// something: keys of the load tester's report.
const OTHER_SENSE: &[&str] =
    &["chown nobody ", "group is that of `nobody`", "end_untold", "unasked_match"];

/// This file has to name the words.
const OWN: &str = "tests/source/wording.rs";

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// Whether `line` contains `word` as a whole word.
fn has_word(line: &str, word: &str) -> bool {
    let bytes = line.as_bytes();
    line.match_indices(word).any(|(at, _)| {
        let before = at.checked_sub(1).map(|at| bytes[at]);
        let after = bytes.get(at + word.len()).copied();
        !before.is_some_and(is_word_byte) && !after.is_some_and(is_word_byte)
    })
}

fn found_in(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if OTHER_SENSE.iter().any(|phrase| line.contains(phrase)) {
            continue;
        }
        let lower = line.to_ascii_lowercase();
        let words = REPLACED_WORDS.iter().filter(|word| has_word(&lower, word));
        let names = REPLACED_NAMES.iter().filter(|name| has_word(line, name));
        found.extend(words.chain(names).map(|word| format!("{path}:{}: {word}", number + 1)));
    }
    found
}

#[test]
fn replaced_words_do_not_come_back() {
    let endings = [
        ".rs", ".sh", ".js", ".py", ".ts", ".md", ".yml", ".toml", ".conf", ".css", ".html",
        ".service",
    ];
    let folders = ["src", "tests", "benches", "scripts", "tuning", ".github", ".ci"];
    let mut paths: Vec<_> = folders.iter().flat_map(|folder| files(folder, &endings)).collect();
    paths.push(super::tree::root().join("README.md"));
    paths.push(super::tree::root().join("Cargo.toml"));
    let mut found = Vec::new();
    for path in paths {
        let name = relative(&path);
        if name != OWN {
            found.extend(found_in(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(found.is_empty(), "{} replaced words:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_replaced_word_is_found_as_a_whole_word_in_any_case() {
    assert_eq!(found_in("x", "Whoever comes"), ["x:1: whoever"]);
    assert_eq!(found_in("x", "fn nobody_waits() {}"), ["x:1: nobody"]);
    assert_eq!(found_in("x", "a\nstruct Wish;"), ["x:2: Wish"]);
    assert!(found_in("x", "indices, wishes, compress, Wishlist").is_empty());
}
