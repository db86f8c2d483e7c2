//! Evaluates `Accept-Encoding` (RFC 9110 §12.5.3). Pure.

use super::list_elements;

/// A quality value in thousandths (RFC 9110 §12.4.2).
type Quality = u16;

/// The quality of an element without a `q` parameter.
const HIGHEST: Quality = 1000;

/// Whether a client that sent these fields accepts a body in the gzip format and does not prefer
/// one that is not encoded. Without a field it would accept anything, but a client that does not
/// mention gzip may be unable to read it. A malformed element counts as absent.
pub(super) fn accepts_gzip<'b>(fields: impl Iterator<Item = &'b [u8]>) -> bool {
    let (mut gzip, mut identity, mut others) = (None, None, None);
    for element in fields.flat_map(list_elements) {
        let (coding, parameters) = match memchr::memchr(b';', element) {
            Some(at) => (element[..at].trim_ascii(), &element[at + 1..]),
            None => (element, &b""[..]),
        };
        let Some(quality) = quality(parameters) else { continue };
        let is = |name: &[u8]| coding.eq_ignore_ascii_case(name);
        if is(b"gzip") || is(b"x-gzip") {
            gzip = Some(quality);
        } else if is(b"identity") {
            identity = Some(quality);
        } else if coding == b"*" {
            others = Some(quality);
        }
    }
    // `*` matches every coding that is not listed.
    let gzip = gzip.or(others).unwrap_or(0);
    // guard: a coding with the quality 0 is not used [value gzip >= identity.unwrap_or(0)]
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// The quality that the parameters of an element give; `None` if they are malformed.
fn quality(parameters: &[u8]) -> Option<Quality> {
    let parameters = parameters.trim_ascii();
    if parameters.is_empty() {
        return Some(HIGHEST);
    }
    let (b"q=" | b"Q=", value) = parameters.split_at_checked(2)? else { return None };
    let (whole, fraction) = match value {
        [whole, b'.', fraction @ ..] => (whole, fraction),
        [whole] => (whole, &b""[..]),
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| Quality::from(fraction.get(at).map_or(0, |digit| digit - b'0'));
    let thousandths = digit(0) * 100 + digit(1) * 10 + digit(2);
    match (whole, thousandths) {
        (b'0', _) => Some(thousandths),
        (b'1', 0) => Some(HIGHEST),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(fields: &[&str]) -> bool {
        accepts_gzip(fields.iter().map(|field| field.as_bytes()))
    }

    /// RFC 9110 §12.5.3, with the examples that it has.
    #[test]
    fn gzip_is_accepted_where_it_is_named_with_a_quality_above_zero() {
        for field in [
            "gzip",
            "x-gzip",
            "GZIP",
            "compress, gzip",
            "gzip;q=1.0, identity; q=0.5, *;q=0",
            "gzip, deflate, br, zstd",
            "br;q=1.0,gzip;q=0.001",
            "*",
            "identity;q=0.5, *",
            " ,, gzip ; q=0.8 ,",
            "gzip;Q=1.000",
            "gzip, identity",
        ] {
            assert!(accepts(&[field]), "{field}");
        }
        assert!(accepts(&["br", "gzip"]));
    }

    #[test]
    fn gzip_is_not_used_where_it_is_excluded_or_not_preferred() {
        for field in [
            "",
            "identity",
            "br",
            "gzip;q=0",
            "gzip;q=0.000",
            "gzip; q=0, *",
            "*;q=0",
            "identity;q=1, *;q=0",
            "gzip;q=0.5, identity",
            "gzip;q=0.5, identity;q=0.8",
            "gzipped",
            "gzip;level=9",
            "gzip;q=2",
            "gzip;q=1.5",
            "gzip;q=0.1234",
            "gzip;q=.5",
            "gzip;q=",
            "gzip;q",
        ] {
            assert!(!accepts(&[field]), "{field}");
        }
        assert!(!accepts(&[]));
        assert!(!accepts(&["gzip", "gzip;q=0"]));
    }
}
