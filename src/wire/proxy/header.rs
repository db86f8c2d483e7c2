//! Parses and writes the PROXY protocol header at the start of a connection, which has the address
//! of the client. Pure.
//!
//! It copies and stores nothing. While a header is incomplete, it is parsed again from its first
//! byte when more bytes have arrived, which examines only a few of them. Ports and TLVs are
//! skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

const SIGNATURE_1: &[u8] = b"PROXY ";
const SIGNATURE_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, CRLF included (§2.1).
const LINE_BYTES: usize = 107;
/// Signature, version and command, family and protocol, length (§2.2).
const FIXED_BYTES: usize = 16;

/// The header at the start of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// More bytes are needed to decide.
    Incomplete,
    /// The connection begins with something else.
    Absent,
    /// A complete header.
    Complete {
        /// Length of the header, in bytes; the bytes after it are the client's.
        length: usize,
        /// The address of the client. `None` if the proxy connects on its own behalf, as for a
        /// health check, or for a client without an IP address.
        client: Option<IpAddr>,
    },
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeaderError {
    /// It violates the protocol.
    Malformed,
    /// It is longer than allowed.
    TooLong,
}

/// Parses the header at the start of `buf`, which begins at the first byte of the connection. The
/// header may have at most `max_bytes`.
///
/// # Errors
/// See [`ProxyHeaderError`]. An error is returned as soon as no further bytes can change it.
pub fn read_proxy_header(buf: &[u8], max_bytes: usize) -> Result<ProxyHeader, ProxyHeaderError> {
    if may_start_with(buf, SIGNATURE_1) {
        return if buf.len() < SIGNATURE_1.len() {
            Ok(ProxyHeader::Incomplete)
        } else {
            parse_line(buf)
        };
    }
    if may_start_with(buf, SIGNATURE_2) {
        return parse_block(buf, max_bytes);
    }
    Ok(ProxyHeader::Absent)
}

/// Whether `buf` starts with `signature`, as far as it has arrived.
fn may_start_with(buf: &[u8], signature: &[u8]) -> bool {
    buf.iter().zip(signature).all(|(one, other)| one == other)
}

/// Version 1 (§2.1): one line of text.
fn parse_line(buf: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
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
    Ok(ProxyHeader::Complete { length: end + 1, client: client_of_line(text)? })
}

/// The address of the client in a line of version 1; `text` is what follows `PROXY `.
fn client_of_line(text: &str) -> Result<Option<IpAddr>, ProxyHeaderError> {
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

/// Version 2 (§2.2): a block of bytes that begins with its length.
fn parse_block(buf: &[u8], max_bytes: usize) -> Result<ProxyHeader, ProxyHeaderError> {
    // The upper half of the byte is the version, the lower half the command.
    let is_local = match buf.get(12) {
        None => return Ok(ProxyHeader::Incomplete),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(ProxyHeaderError::Malformed),
    };
    // The upper half is the address family, the lower half the transport. LOCAL ignores both.
    let Some(&family) = buf.get(13) else { return Ok(ProxyHeader::Incomplete) };
    if !is_local && (family >> 4 > 3 || family & 15 > 2) {
        return Err(ProxyHeaderError::Malformed);
    }
    let Some(&[high, low]) = buf.get(14..FIXED_BYTES).and_then(|bytes| bytes.first_chunk()) else {
        return Ok(ProxyHeader::Incomplete);
    };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    // guard: the size of a PROXY header is limited [false]
    if length > max_bytes {
        return Err(ProxyHeaderError::TooLong);
    }
    let address_bytes = match family {
        _ if is_local => 0,
        // TCP over IPv4: two addresses, two ports.
        0x11 => 12,
        0x21 => 36,
        // Unspecified, datagram and UNIX families contain no address of a TCP client.
        _ => 0,
    };
    if length < FIXED_BYTES + address_bytes {
        return Err(ProxyHeaderError::Malformed);
    }
    let Some(block) = buf.get(FIXED_BYTES..length) else { return Ok(ProxyHeader::Incomplete) };
    let client = match (address_bytes, block.first_chunk::<4>(), block.first_chunk::<16>()) {
        (12, Some(v4), _) => Some(IpAddr::from(*v4)),
        (36, _, Some(v6)) => Some(IpAddr::from(*v6)),
        (_, _, _) => None,
    };
    Ok(ProxyHeader::Complete { length, client })
}

/// Appends a header of version 2 for a TCP connection over IPv4 from `client` to `server`.
pub fn write_proxy_header(out: &mut Vec<u8>, client: SocketAddrV4, server: SocketAddrV4) {
    out.extend_from_slice(SIGNATURE_2);
    // Version 2, command PROXY; TCP over IPv4; two addresses and two ports (§2.2).
    out.extend_from_slice(&[0x21, 0x11, 0, 12]);
    out.extend_from_slice(&client.ip().octets());
    out.extend_from_slice(&server.ip().octets());
    out.extend_from_slice(&client.port().to_be_bytes());
    out.extend_from_slice(&server.port().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 1024;

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

    #[test]
    fn reads_the_header_that_it_writes() {
        let mut bytes = Vec::new();
        let client = SocketAddrV4::new(Ipv4Addr::new(198, 18, 3, 4), 50_000);
        write_proxy_header(&mut bytes, client, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));
        assert_eq!(bytes.len(), 28);
        bytes.extend_from_slice(b"GET");
        assert_complete_with(&bytes, 28, Some(IpAddr::V4(*client.ip())));
    }

    fn assert_complete_with(bytes: &[u8], length: usize, client: Option<IpAddr>) {
        let header = ProxyHeader::Complete { length, client };
        assert_eq!(read_proxy_header(bytes, MAX), Ok(header));
    }

    fn assert_complete(bytes: &[u8], client: Option<&str>) {
        let client = client.map(|text| text.parse().unwrap());
        let expected = Ok(ProxyHeader::Complete { length: bytes.len(), client });
        let shown = bytes.escape_ascii();
        assert_eq!(read_proxy_header(bytes, MAX), expected, "{shown}");
        let more = [bytes, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(read_proxy_header(&more, MAX), expected, "with bytes of the client: {shown}");
        for end in 0..bytes.len() {
            let read = read_proxy_header(&bytes[..end], MAX);
            assert_eq!(read, Ok(ProxyHeader::Incomplete), "split at {end}: {shown}");
        }
    }

    /// §2.1, including its longest lines.
    #[test]
    fn parses_lines_of_version_1_split_at_every_byte() {
        assert_complete(b"PROXY TCP4 192.0.2.7 127.0.0.1 56324 443\r\n", Some("192.0.2.7"));
        assert_complete(
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            Some("255.255.255.255"),
        );
        assert_complete(b"PROXY TCP6 2001:db8::7 ::1 0 65535\r\n", Some("2001:db8::7"));
        let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
        assert_complete(longest.as_bytes(), Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert_complete(b"PROXY UNKNOWN\r\n", None);
        let unknown = format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
        assert_eq!(unknown.len(), LINE_BYTES);
        assert_complete(unknown.as_bytes(), None);
    }

    /// §2.2.
    #[test]
    fn parses_blocks_of_version_2_split_at_every_byte() {
        let tlvs = [b"\x03\x00\x04abcd".as_slice(), &[0x04, 0, 200], &[7; 200]].concat();
        for tlvs in [&[][..], &tlvs] {
            assert_complete(&v2_v4([203, 0, 113, 9], tlvs), Some("203.0.113.9"));
            assert_complete(&v2_v6("2001:db8::9".parse().unwrap(), tlvs), Some("2001:db8::9"));
        }
    }

    /// §2.2: LOCAL with any family; AF_UNSPEC, datagrams and AF_UNIX.
    #[test]
    fn headers_without_a_tcp_address_have_no_client() {
        assert_complete(&v2(0x20, 0x00, &[]), None);
        assert_complete(&v2(0x20, 0x11, &[]), None);
        assert_complete(&v2(0x20, 0xff, &[1; 40]), None);
        assert_complete(&v2(0x21, 0x00, &[]), None);
        assert_complete(&v2(0x21, 0x00, &[9; 100]), None);
        assert_complete(&v2(0x21, 0x01, &[]), None);
        assert_complete(&v2(0x21, 0x12, &[1; 12]), None);
        assert_complete(&v2(0x21, 0x31, &[1; 216]), None);
    }

    #[test]
    fn refuses_malformed_headers_at_the_first_wrong_byte() {
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
                read_proxy_header(bad, MAX),
                Err(ProxyHeaderError::Malformed),
                "{}",
                bad.escape_ascii()
            );
        }
        let endless = [SIGNATURE_1, &[b'x'; LINE_BYTES]].concat();
        assert_eq!(read_proxy_header(&endless[..LINE_BYTES - 1], MAX), Ok(ProxyHeader::Incomplete));
        assert_eq!(
            read_proxy_header(&endless[..LINE_BYTES], MAX),
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
                read_proxy_header(&bad, MAX),
                Err(ProxyHeaderError::Malformed),
                "{command:x} {family:x}"
            );
            let decisive = if block.len() == 12 { FIXED_BYTES - 2 } else { FIXED_BYTES };
            assert_eq!(
                read_proxy_header(&bad[..decisive], MAX),
                Err(ProxyHeaderError::Malformed),
                "{command:x}"
            );
        }
    }

    #[test]
    fn refuses_an_oversized_block_when_its_length_is_known() {
        let fits = v2_v4([1; 4], &vec![0; MAX - FIXED_BYTES - 12]);
        assert_eq!(fits.len(), MAX);
        assert_complete(&fits, Some("1.1.1.1"));
        let longer = v2_v4([1; 4], &vec![0; MAX - FIXED_BYTES - 11]);
        assert_eq!(read_proxy_header(&longer[..FIXED_BYTES], MAX), Err(ProxyHeaderError::TooLong));
        assert_eq!(read_proxy_header(&longer[..FIXED_BYTES - 1], MAX), Ok(ProxyHeader::Incomplete));
    }

    #[test]
    fn other_protocols_have_no_header() {
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
                read_proxy_header(other, MAX),
                Ok(ProxyHeader::Absent),
                "{}",
                other.escape_ascii()
            );
        }
        assert_eq!(read_proxy_header(b"", MAX), Ok(ProxyHeader::Incomplete));
    }

    proptest! {
        /// Also checks that no input causes a panic.
        #[test]
        fn more_bytes_never_change_a_result(
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
            for end in 0..bytes.len() {
                match read_proxy_header(&bytes[..end], 200) {
                    Ok(ProxyHeader::Incomplete) => {}
                    result => prop_assert_eq!(result, all, "at {}", end),
                }
            }
            if let Ok(ProxyHeader::Complete { length, .. }) = all {
                prop_assert!(length <= bytes.len() && length <= 200);
            }
        }

        #[test]
        fn returns_every_address_unchanged(v4: [u8; 4], v6: [u8; 16], port: u16, tlvs in 0..300_usize) {
            let (v4, v6) = (Ipv4Addr::from(v4), Ipv6Addr::from(v6));
            let tlvs = vec![0xee; tlvs];
            for (bytes, client) in [
                (format!("PROXY TCP4 {v4} 127.0.0.1 {port} 1\r\n").into_bytes(), IpAddr::from(v4)),
                (format!("PROXY TCP6 {v6} ::1 {port} 1\r\n").into_bytes(), IpAddr::from(v6)),
                (v2_v4(v4.octets(), &tlvs), IpAddr::from(v4)),
                (v2_v6(v6, &tlvs), IpAddr::from(v6)),
            ] {
                let expected = ProxyHeader::Complete { length: bytes.len(), client: Some(client) };
                prop_assert_eq!(read_proxy_header(&bytes, MAX), Ok(expected));
            }
        }
    }
}
