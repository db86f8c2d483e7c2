//! `X-Forwarded-For` → the client's address. Pure.

use super::Networks;
use std::net::{IpAddr, SocketAddr};

/// The client's address by the `X-Forwarded-For` fields of a request that a trusted peer sent,
/// in their order. Each proxy appends the address of its peer, so the last that is not a trusted
/// proxy's is the client's. What stands before it anybody may have made up; so may what stands
/// before something that is no address, and then there is none.
pub fn client_behind<'f>(
    fields: impl Iterator<Item = &'f [u8]>,
    trusted: &Networks,
) -> Option<IpAddr> {
    let mut client = None;
    for element in fields.flat_map(|field| field.split(|&byte| byte == b',')) {
        let element = element.trim_ascii();
        // RFC 9110 §5.6.1: empty elements do not count.
        if element.is_empty() {
            continue;
        }
        match address(element) {
            Some(address) if trusted.contain(address) => {}
            // guard: the last forwarded address counts [value client = client.or(other)]
            other => client = other,
        }
    }
    client
}

/// An address, with or without a port, as the common proxies write it.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    bare().or_else(with_port).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(fields: &[&str]) -> Option<String> {
        let trusted = Networks(vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()]);
        client_behind(fields.iter().map(|field| field.as_bytes()), &trusted)
            .map(|address| address.to_string())
    }

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_clients() {
        for (fields, expected) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7, 10.0.0.1, 10.0.0.2"], "203.0.113.7"),
            (&["198.51.100.1,203.0.113.7 ,\t::1"], "203.0.113.7"),
            (&["203.0.113.7", "10.0.0.1"], "203.0.113.7"),
            (&["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7", "", " , ,"], "203.0.113.7"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["[2001:db8::7]:4711, 10.0.0.1:80"], "2001:db8::7"),
            // What a client makes up stands before what the proxy appends.
            (&["junk, \"><script>", "unknown, 203.0.113.7"], "203.0.113.7"),
            (&["::ffff:10.0.0.1, 203.0.113.7"], "203.0.113.7"),
        ] {
            assert_eq!(client(fields).as_deref(), Some(expected), "{fields:?}");
        }
    }

    #[test]
    fn where_no_address_is_vouched_for_there_is_none() {
        for fields in [
            &[][..],
            &[""],
            &["10.0.0.1"],
            &["::ffff:10.0.0.1, 10.0.0.2"],
            &["unknown"],
            // A proxy that hides its peer: what stands before is that peer's word.
            &["203.0.113.7, unknown"],
            &["203.0.113.7", "_hidden, 10.0.0.1"],
            &["203.0.113.7, 1.2.3"],
            &["203.0.113.7, [203.0.113.7]"],
            &["203.0.113.7 198.51.100.1"],
        ] {
            assert_eq!(client(fields), None, "{fields:?}");
        }
        let trusted = Networks::default();
        let bytes: &[&[u8]] = &[b"\xff\xfe", b"203.0.113.7\x80"];
        assert_eq!(client_behind(bytes.iter().copied(), &trusted), None);
    }
}
