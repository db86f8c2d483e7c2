//! Finds the address of the client in `X-Forwarded-For`. Pure.

use super::Networks;
use std::net::{IpAddr, SocketAddr};

/// The address of the client according to the `X-Forwarded-For` fields, in their order, of a
/// request from a trusted peer. Each proxy appends the address of its peer, so the client is the
/// last element that is not the address of a trusted proxy; the client may have forged everything
/// before it. `None` if there is no such element, or if it is not an address.
pub fn client_behind<'f>(
    fields: impl Iterator<Item = &'f [u8]>,
    trusted: &Networks,
) -> Option<IpAddr> {
    let mut client = None;
    for element in fields.flat_map(|field| field.split(|&byte| byte == b',')) {
        let element = element.trim_ascii();
        // RFC 9110 §5.6.1: empty elements are ignored.
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

/// An address, with or without a port, in the forms that common proxies write.
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
    fn the_last_address_that_is_not_a_trusted_proxy_is_the_client() {
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
            // The elements that a client forged come before those that the proxy appends.
            (&["junk, \"><script>", "unknown, 203.0.113.7"], "203.0.113.7"),
            (&["::ffff:10.0.0.1, 203.0.113.7"], "203.0.113.7"),
        ] {
            assert_eq!(client(fields).as_deref(), Some(expected), "{fields:?}");
        }
    }

    #[test]
    fn the_client_is_unknown_without_an_address_from_a_trusted_proxy() {
        for fields in [
            &[][..],
            &[""],
            &["10.0.0.1"],
            &["::ffff:10.0.0.1, 10.0.0.2"],
            &["unknown"],
            // A proxy that hides its peer. The elements before come from that peer.
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
