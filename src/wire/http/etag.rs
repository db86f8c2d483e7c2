//! Evaluates `If-None-Match` (RFC 9110 §13.1.2). Pure.

/// Whether a client that sent this `If-None-Match` already has the representation with the tag
/// `etag`, an entity-tag with its quotes. A malformed list matches nothing, so the client gets the
/// representation.
pub(super) fn lists_tag(if_none_match: &[u8], etag: &str) -> bool {
    if if_none_match == b"*" {
        return true;
    }
    let wanted = opaque(etag.as_bytes());
    let mut rest = if_none_match;
    loop {
        // Empty list elements are ignored (RFC 9110 §5.6.1.2).
        let skip = rest.iter().position(|byte| !b", \t".contains(byte));
        let Some(skip) = skip else { return false };
        let tag = opaque(&rest[skip..]);
        // A comma may be inside the quotes, so an element ends at its closing quote.
        let Some(end) =
            tag.strip_prefix(b"\"").and_then(|tag| memchr::memchr(b'"', tag)).map(|at| at + 2)
        else {
            return false;
        };
        if &tag[..end] == wanted {
            return true;
        }
        rest = &tag[end..];
    }
}

/// The tag without the prefix of a weak entity-tag: `If-None-Match` compares weakly
/// (RFC 9110 §8.8.3.2).
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9110 §13.1.2 and §8.8.3.2: any entity-tag of the list, compared weakly, or `*`.
    #[test]
    fn recognises_a_listed_tag_with_weak_comparison() {
        for hit in
            ["*", r#""v1""#, r#"W/"v1""#, r#""a", "v1""#, r#""a,b" , W/"v1","c""#, r#",,"v1""#]
        {
            assert!(lists_tag(hit.as_bytes(), r#""v1""#), "{hit}");
            assert!(lists_tag(hit.as_bytes(), r#"W/"v1""#), "{hit}");
        }
        for miss in
            ["", " , ", "v1", r#""v2""#, r#""v1"#, r#""a, "v1""#, r#"w/"v1""#, "W/", r#""a""#]
        {
            assert!(!lists_tag(miss.as_bytes(), r#""v1""#), "{miss}");
        }
    }
}
