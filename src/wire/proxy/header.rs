//! The PROXY protocol header that a connection may begin with → the client's address. Pure.
//!
//! Nothing is copied or kept: as long as a header is incomplete, the same bytes and more are
//! read again, which is a look at a few of them. Ports and TLVs are passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SIGNATURE_1: &[u8] = b"PROXY ";
const SIGNATURE_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, CRLF included (§2.1).
const LINE_BYTES: usize = 107;
/// Signature, version and command, family and protocol, length (§2.2).
const FIXED_BYTES: usize = 16;

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Perhaps a header: more bytes will tell.
    Incomplete,
    /// Something else, from the first byte on.
    Absent,
    /// A header.
    Complete {
        /// Its bytes; what follows is the client's.
        length: usize,
        /// The client's address. `None`: the proxy speaks for itself, as in a health check, or
        /// for somebody who has no IP address.
        client: Option<IpAddr>,
    },
}

/// Why bytes that begin as a header cannot become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeaderError {
    /// They break the protocol.
    Malformed,
    /// It is longer than allowed.
    TooLong,
}

/// Reads the header that `buf` begins with, if it does, of `most_bytes` at most. `buf` starts at
/// the first byte of the connection.
///
/// # Errors
/// See [`ProxyHeaderError`]; as soon as it is certain, whatever is still to come.
pub fn read_proxy_header(buf: &[u8], most_bytes: usize) -> Result<ProxyHeader, ProxyHeaderError> {
    if begins(buf, SIGNATURE_1) {
        return if buf.len() < SIGNATURE_1.len() { Ok(ProxyHeader::Incomplete) } else { line(buf) };
    }
    if begins(buf, SIGNATURE_2) {
        return block(buf, most_bytes);
    }
    Ok(ProxyHeader::Absent)
}

/// Whether `buf` begins with `signature`, as far as either goes.
fn begins(buf: &[u8], signature: &[u8]) -> bool {
    buf.iter().zip(signature).all(|(one, other)| one == other)
}

/// Version 1 (§2.1): one line of text.
fn line(buf: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let window = &buf[..buf.len().min(LINE_BYTES)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if buf.len() < LINE_BYTES {
            Ok(ProxyHeader::Incomplete)
        } else {
            Err(ProxyHeaderError::Malformed)
        };
    };
    let text =
        window[SIGNATURE_1.len()..end].strip_suffix(b"\r").ok_or(ProxyHeaderError::Malformed)?;
    let text = std::str::from_utf8(text).map_err(|_| ProxyHeaderError::Malformed)?;
    Ok(ProxyHeader::Complete { length: end + 1, client: client_in(text)? })
}

/// What stands behind `PROXY ` in version 1.
fn client_in(text: &str) -> Result<Option<IpAddr>, ProxyHeaderError> {
    let mut words = text.split(' ');
    // §2.1: what follows UNKNOWN is to be ignored up to the end of the line.
    let is_v4 = match words.next() {
        Some("UNKNOWN") => return Ok(None),
        Some("TCP4") => true,
        Some("TCP6") => false,
        Some(_) | None => return Err(ProxyHeaderError::Malformed),
    };
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        if is_v4 {
            word.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        } else {
            word.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
    };
    let (Some(client), Some(_server)) = (address(), address()) else {
        return Err(ProxyHeaderError::Malformed);
    };
    let is_port = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_digit())
            && (word == "0" || !word.starts_with('0'))
            && word.parse::<u16>().is_ok()
    };
    match (words.next(), words.next(), words.next()) {
        (Some(from), Some(to), None) if is_port(from) && is_port(to) => Ok(Some(client)),
        (_, _, _) => Err(ProxyHeaderError::Malformed),
    }
}

/// Version 2 (§2.2): a block of bytes that says how long it is.
fn block(buf: &[u8], most_bytes: usize) -> Result<ProxyHeader, ProxyHeaderError> {
    // The first half of the byte is the version, the second the command.
    let is_local = match buf.get(12) {
        None => return Ok(ProxyHeader::Incomplete),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(ProxyHeaderError::Malformed),
    };
    // The first half is the address family, the second the transport. With LOCAL neither counts.
    let Some(&family) = buf.get(13) else { return Ok(ProxyHeader::Incomplete) };
    if !is_local && (family >> 4 > 3 || family & 15 > 2) {
        return Err(ProxyHeaderError::Malformed);
    }
    let Some(&[high, low]) = buf.get(14..FIXED_BYTES).and_then(|bytes| bytes.first_chunk()) else {
        return Ok(ProxyHeader::Incomplete);
    };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    // guard: the size of a PROXY header is limited [false]
    if length > most_bytes {
        return Err(ProxyHeaderError::TooLong);
    }
    let least = match family {
        _ if is_local => 0,
        // TCP over IPv4: two addresses, two ports.
        0x11 => 12,
        0x21 => 36,
        // Unspecified, datagrams, UNIX: no address of an IP client in any.
        _ => 0,
    };
    if length < FIXED_BYTES + least {
        return Err(ProxyHeaderError::Malformed);
    }
    let Some(block) = buf.get(FIXED_BYTES..length) else { return Ok(ProxyHeader::Incomplete) };
    let client = match (least, block.first_chunk::<4>(), block.first_chunk::<16>()) {
        (12, Some(v4), _) => Some(IpAddr::from(*v4)),
        (36, _, Some(v6)) => Some(IpAddr::from(*v6)),
        (_, _, _) => None,
    };
    Ok(ProxyHeader::Complete { length, client })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: usize = 1024;

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE_2, &[command, family], &length, block].concat()
    }

    fn v2_v4(client: [u8; 4], tlvs: &[u8]) -> Vec<u8> {
        v2(0x21, 0x11, &[&client[..], &[127, 0, 0, 1, 0x9c, 0x40, 0x1f, 0x90], tlvs].concat())
    }

    fn v2_v6(client: Ipv6Addr, tlvs: &[u8]) -> Vec<u8> {
        v2(0x21, 0x21, &[&client.octets()[..], &[0; 16], &[0, 1, 0, 2], tlvs].concat())
    }

    fn whole(bytes: &[u8], client: Option<&str>) {
        let client = client.map(|text| text.parse().unwrap());
        let expected = Ok(ProxyHeader::Complete { length: bytes.len(), client });
        let shown = bytes.escape_ascii();
        assert_eq!(read_proxy_header(bytes, MOST), expected, "{shown}");
        let more = [bytes, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(
            read_proxy_header(&more, MOST),
            expected,
            "what follows is the client's: {shown}"
        );
        for cut in 0..bytes.len() {
            let read = read_proxy_header(&bytes[..cut], MOST);
            assert_eq!(read, Ok(ProxyHeader::Incomplete), "cut at {cut}: {shown}");
        }
    }

    /// §2.1, with its longest lines.
    #[test]
    fn a_line_of_version_1_names_the_client_at_every_cut() {
        whole(b"PROXY TCP4 192.0.2.7 127.0.0.1 56324 443\r\n", Some("192.0.2.7"));
        whole(
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            Some("255.255.255.255"),
        );
        whole(b"PROXY TCP6 2001:db8::7 ::1 0 65535\r\n", Some("2001:db8::7"));
        let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
        whole(longest.as_bytes(), Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        whole(b"PROXY UNKNOWN\r\n", None);
        let unknown = format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
        assert_eq!(unknown.len(), LINE_BYTES);
        whole(unknown.as_bytes(), None);
    }

    /// §2.2.
    #[test]
    fn a_block_of_version_2_names_the_client_at_every_cut() {
        let tlvs = [b"\x03\x00\x04abcd".as_slice(), &[0x04, 0, 200], &[7; 200]].concat();
        for tlvs in [&[][..], &tlvs] {
            whole(&v2_v4([203, 0, 113, 9], tlvs), Some("203.0.113.9"));
            whole(&v2_v6("2001:db8::9".parse().unwrap(), tlvs), Some("2001:db8::9"));
        }
    }

    /// §2.2: LOCAL, whatever family stands beside it; AF_UNSPEC, datagrams and AF_UNIX.
    #[test]
    fn who_has_no_address_is_nobody_in_particular() {
        whole(&v2(0x20, 0x00, &[]), None);
        whole(&v2(0x20, 0x11, &[]), None);
        whole(&v2(0x20, 0xff, &[1; 40]), None);
        whole(&v2(0x21, 0x00, &[]), None);
        whole(&v2(0x21, 0x00, &[9; 100]), None);
        whole(&v2(0x21, 0x01, &[]), None);
        whole(&v2(0x21, 0x12, &[1; 12]), None);
        whole(&v2(0x21, 0x31, &[1; 216]), None);
    }

    #[test]
    fn what_breaks_the_protocol_is_malformed_as_soon_as_it_shows() {
        for bad in [
            &b"PROXY \r\n"[..],
            b"PROXY TCP4\r\n",
            b"PROXY TCP5 192.0.2.7 127.0.0.1 1 2\r\n",
            b"PROXY tcp4 192.0.2.7 127.0.0.1 1 2\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
            b"PROXY TCP6 192.0.2.7 127.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.256 127.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.07 127.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1 65536\r\n",
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1 02\r\n",
            b"PROXY TCP4 192.0.2.7 127.0.0.1 +1 2\r\n",
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1\r\n",
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2 3\r\n",
            b"PROXY TCP4 192.0.2.7  127.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2 \r\n",
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\n",
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\r\n",
            b"PROXY UNKNOWN\n",
            b"PROXY \xff\r\n",
        ] {
            assert_eq!(
                read_proxy_header(bad, MOST),
                Err(ProxyHeaderError::Malformed),
                "{}",
                bad.escape_ascii()
            );
        }
        let endless = [SIGNATURE_1, &[b'x'; LINE_BYTES]].concat();
        assert_eq!(
            read_proxy_header(&endless[..LINE_BYTES - 1], MOST),
            Ok(ProxyHeader::Incomplete)
        );
        assert_eq!(
            read_proxy_header(&endless[..LINE_BYTES], MOST),
            Err(ProxyHeaderError::Malformed)
        );
        for (command, family, block) in [
            (0x11, 0x11, &[0; 12][..]),
            (0x31, 0x11, &[0; 12]),
            (0x22, 0x11, &[0; 12]),
            (0x2f, 0x11, &[0; 12]),
            (0x21, 0x41, &[0; 12]),
            (0x21, 0x13, &[0; 12]),
            (0x21, 0x11, &[0; 11]),
            (0x21, 0x21, &[0; 35]),
        ] {
            let bad = v2(command, family, block);
            assert_eq!(
                read_proxy_header(&bad, MOST),
                Err(ProxyHeaderError::Malformed),
                "{command:x} {family:x}"
            );
            let known = if block.len() == 12 { FIXED_BYTES - 2 } else { FIXED_BYTES };
            assert_eq!(
                read_proxy_header(&bad[..known], MOST),
                Err(ProxyHeaderError::Malformed),
                "{command:x}"
            );
        }
    }

    #[test]
    fn a_block_over_the_bound_is_refused_before_it_has_come() {
        let fits = v2_v4([1; 4], &vec![0; MOST - FIXED_BYTES - 12]);
        assert_eq!(fits.len(), MOST);
        whole(&fits, Some("1.1.1.1"));
        let longer = v2_v4([1; 4], &vec![0; MOST - FIXED_BYTES - 11]);
        assert_eq!(read_proxy_header(&longer[..FIXED_BYTES], MOST), Err(ProxyHeaderError::TooLong));
        assert_eq!(
            read_proxy_header(&longer[..FIXED_BYTES - 1], MOST),
            Ok(ProxyHeader::Incomplete)
        );
    }

    #[test]
    fn what_begins_otherwise_is_no_header() {
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"POST",
            b"PROXX",
            b"proxy ",
            b"\r\nGET",
            b"\r\n\r\nGET",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"\x16\x03\x01",
        ] {
            assert_eq!(
                read_proxy_header(other, MOST),
                Ok(ProxyHeader::Absent),
                "{}",
                other.escape_ascii()
            );
        }
        assert_eq!(read_proxy_header(b"", MOST), Ok(ProxyHeader::Incomplete));
    }

    proptest! {
        /// However it comes: nothing panics, and a verdict that was reached stays.
        #[test]
        fn more_bytes_never_change_a_verdict(
            start in prop_oneof![
                Just(Vec::new()),
                Just(SIGNATURE_1.to_vec()),
                Just(b"PROXY TCP4 1.2.3.4 ".to_vec()),
                Just(SIGNATURE_2.to_vec()),
                Just([SIGNATURE_2, &[0x21, 0x11, 0]].concat()),
                Just([SIGNATURE_2, &[0x21, 0x21, 0]].concat()),
            ],
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [start, rest].concat();
            let all = read_proxy_header(&bytes, 200);
            for cut in 0..bytes.len() {
                match read_proxy_header(&bytes[..cut], 200) {
                    Ok(ProxyHeader::Incomplete) => {}
                    verdict => prop_assert_eq!(verdict, all, "at {}", cut),
                }
            }
            if let Ok(ProxyHeader::Complete { length, .. }) = all {
                prop_assert!(length <= bytes.len() && length <= 200);
            }
        }

        #[test]
        fn every_address_arrives(v4: [u8; 4], v6: [u8; 16], port: u16, tlvs in 0..300_usize) {
            let (v4, v6) = (Ipv4Addr::from(v4), Ipv6Addr::from(v6));
            let tlvs = vec![0xee; tlvs];
            for (bytes, client) in [
                (format!("PROXY TCP4 {v4} 127.0.0.1 {port} 1\r\n").into_bytes(), IpAddr::from(v4)),
                (format!("PROXY TCP6 {v6} ::1 {port} 1\r\n").into_bytes(), IpAddr::from(v6)),
                (v2_v4(v4.octets(), &tlvs), IpAddr::from(v4)),
                (v2_v6(v6, &tlvs), IpAddr::from(v6)),
            ] {
                let expected = ProxyHeader::Complete { length: bytes.len(), client: Some(client) };
                prop_assert_eq!(read_proxy_header(&bytes, MOST), Ok(expected));
            }
        }
    }
}
