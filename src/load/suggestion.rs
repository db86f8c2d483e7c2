//! The known name that a mistyped one was probably meant to be. Pure.

/// Least similarity of a suggestion, from 0 to 1: up to about one wrong character in three.
const MIN_SIMILARITY: f64 = 0.6;

/// The name in `known` that is most similar to `name`, if one is similar enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |candidate| strsim::normalized_damerau_levenshtein(name, candidate);
    let rated = known.into_iter().map(|candidate| (similarity(candidate), candidate));
    let best = rated.max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(rating, _)| *rating >= MIN_SIMILARITY).map(|(_, candidate)| candidate)
}

/// `; did you mean …?` with the known name that is most similar to `name`, or nothing.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_most_similar_name_and_none_for_a_different_word() {
        let known = ["connections", "calls", "plan", "relay_p99_ms", "relay_p90_ms"];
        for (mistyped, meant) in
            [("conections", "connections"), ("cals", "calls"), ("relay_p9_ms", "relay_p90_ms")]
        {
            assert_eq!(nearest(mistyped, known), Some(meant));
        }
        assert_eq!(nearest("speed", known), None);
        assert_eq!(did_you_mean("pln", known), "; did you mean `plan`?");
        assert_eq!(did_you_mean("speed", known), "");
    }
}
