//! Tests of chunked bodies (RFC 9112 §7.1) and of the end of a body (§6.3).

use super::*;
use crate::limits::{CHUNK_LINE_BYTES, CHUNK_TRAILER_BYTES};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Decodes `bytes` in pieces of the lengths `pieces`, which are repeated. Returns the content and,
/// if the end was found, the number of bytes up to it.
fn decode(bytes: &[u8], pieces: &[usize]) -> Result<(Vec<u8>, Option<usize>), ChunkError> {
    let (mut reader, mut content, mut arrived) = (ChunkReader::default(), Vec::new(), 0);
    for piece in pieces.iter().cycle() {
        let mut input = &bytes[arrived..bytes.len().min(arrived + piece)];
        arrived += input.len();
        loop {
            match reader.next(&mut input)? {
                ChunkPart::Data(data) => {
                    assert!(!data.is_empty(), "data must have at least one byte");
                    content.extend_from_slice(data);
                }
                ChunkPart::Pending => {
                    assert!(input.is_empty(), "input is left although more is awaited");
                    break;
                }
                ChunkPart::End => return Ok((content, Some(arrived - input.len()))),
            }
        }
        if arrived == bytes.len() {
            return Ok((content, None));
        }
    }
    unreachable!("because `pieces` is not empty")
}

fn decode_at_once(text: &str) -> Result<(Vec<u8>, Option<usize>), ChunkError> {
    decode(text.as_bytes(), &[usize::MAX / 2])
}

/// RFC 9112 §7.1, §7.1.1 and §7.1.2: sizes in either case and with leading zeros, ignored
/// extensions and trailer fields, arbitrary data. Bytes after the body are not consumed.
#[test]
fn decodes_chunks_to_their_content() {
    for (text, content) in [
        ("0\r\n\r\n", ""),
        ("3\r\nabc\r\n0\r\n\r\n", "abc"),
        ("3\r\nabc\r\n00a\r\n0\r\n\r\n0\r\n\r\n\r\n000\r\n\r\n", "abc0\r\n\r\n0\r\n\r\n"),
        ("A\r\n0123456789\r\n1\r\n!\r\n0\r\n\r\n", "0123456789!"),
        ("2;a;b=c;d=\"e;\tf\"\r\nab\r\n0;last\r\n\r\n", "ab"),
        ("2 ; a = b\r\nab\r\n0\r\n\r\n", "ab"),
        ("1\r\nx\r\n0\r\nETag: \"a\"\r\nX-Empty:\r\n\r\n", "x"),
    ] {
        let followed = format!("{text}HTTP/1.1 200");
        for text in [text, &followed] {
            let end = text.find("HTTP").unwrap_or(text.len());
            assert_eq!(decode_at_once(text), Ok((content.into(), Some(end))), "{text:?}");
        }
    }
}

#[test]
fn refuses_malformed_chunks() {
    for (text, error) in [
        ("\r\n", ChunkError::Size),
        (";a\r\n", ChunkError::Size),
        (" 1\r\nx", ChunkError::Size),
        ("+1\r\nx", ChunkError::Size),
        ("0x1\r\nx", ChunkError::Size),
        ("1 1\r\nx", ChunkError::Size),
        ("g\r\n", ChunkError::Size),
        ("1\nx", ChunkError::Size),
        ("1;a\nx", ChunkError::Size),
        ("1;a\rb\r\nx", ChunkError::Size),
        ("1;a\0\r\nx", ChunkError::Size),
        ("10000000000000000\r\n", ChunkError::Size),
        ("1\r\nxy\r\n", ChunkError::End),
        ("1\r\nx\n\n", ChunkError::End),
        ("2\r\nab0\r\n\r\n", ChunkError::End),
        ("0\r\nno field\r\n\r\n", ChunkError::Trailer),
        ("0\r\n: x\r\n\r\n", ChunkError::Trailer),
        ("0\r\na : x\r\n\r\n", ChunkError::Trailer),
        ("0\r\na: x\r\n b\r\n\r\n", ChunkError::Trailer),
        ("0\r\na: \0\r\n\r\n", ChunkError::Trailer),
        ("0\r\na: x\n\r\n", ChunkError::Trailer),
        ("0\r\n\n", ChunkError::Trailer),
    ] {
        assert_eq!(decode_at_once(text), Err(error), "{text:?}");
    }
}

/// The largest possible size is only counted down; no memory is reserved for it.
#[test]
fn accepts_the_largest_chunk_size() {
    assert_eq!(decode_at_once("ffffffffffffffff\r\nabc"), Ok((b"abc".to_vec(), None)));
}

/// The bounds are exact, and also apply to lines without an end.
#[test]
fn limits_the_length_of_lines() {
    let size_line = |len: usize| format!("1;{}\r\n", "x".repeat(len - 4));
    let trailer = |len: usize| format!("0\r\na: {}\r\nb: c\r\n\r\n", "x".repeat(len - 13));
    let goes_on = Ok((b"x".to_vec(), None));
    assert_eq!(decode_at_once(&(size_line(CHUNK_LINE_BYTES) + "x")), goes_on);
    assert_eq!(decode_at_once(&size_line(CHUNK_LINE_BYTES + 1)), Err(ChunkError::SizeLineTooLong));
    let endless = "1;".to_owned() + &"x".repeat(CHUNK_LINE_BYTES);
    assert_eq!(decode_at_once(&endless), Err(ChunkError::SizeLineTooLong));
    let most = trailer(CHUNK_TRAILER_BYTES);
    assert_eq!(decode_at_once(&most), Ok((vec![], Some(most.len()))));
    assert_eq!(decode_at_once(&trailer(CHUNK_TRAILER_BYTES + 1)), Err(ChunkError::TrailerTooLong));
    let endless = "0\r\n".to_owned() + &"a: b\r\n".repeat(CHUNK_TRAILER_BYTES / 6 + 1);
    assert_eq!(decode_at_once(&endless), Err(ChunkError::TrailerTooLong));
}

/// RFC 9112 §6.3: each kind of body has its own end, and no byte may follow it.
#[test]
fn a_body_ends_where_the_head_says() {
    let read = |length, parts: &[&str]| {
        let (mut body, mut content) = (Body::new(length), String::new());
        let mut ended = Ok(false);
        for part in parts {
            ended = body.read(part.as_bytes(), |data| {
                content += std::str::from_utf8(data).unwrap();
            });
        }
        (ended, content)
    };
    let all = |content: &str| (Ok(true), content.to_owned());
    assert_eq!(read(BodyLength::Bytes(0), &[""]), all(""));
    assert_eq!(read(BodyLength::Bytes(3), &["a", "bc"]), all("abc"));
    assert_eq!(read(BodyLength::Bytes(3), &["ab"]).0, Ok(false));
    assert_eq!(read(BodyLength::Bytes(3), &["a", "bcd"]).0, Err(BodyError::Excess));
    assert_eq!(read(BodyLength::Chunked, &["", "3\r\na", "bc\r", "\n0\r\n\r\n"]), all("abc"));
    assert_eq!(read(BodyLength::Chunked, &["0\r\n\r\nx"]).0, Err(BodyError::Excess));
    assert_eq!(read(BodyLength::Chunked, &["x\r\n"]).0, Err(BodyError::Chunk(ChunkError::Size)));
    assert_eq!(read(BodyLength::UntilClose, &["a", "b"]), (Ok(false), "ab".to_owned()));
}

/// A chunked body and its content.
fn chunked() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let extension = select(vec!["", "", ";a", " ;b=\"c;d\"", ";e=f;g"]);
    let trailer = select(vec!["", "", "a: b\r\n", "a:\r\nc: d\t\r\n"]);
    let chunk = (vec(any::<u8>(), 1..40), extension, any::<bool>());
    (vec(chunk, 0..6), trailer).prop_map(|(chunks, trailer)| {
        let (mut coded, mut content) = (Vec::new(), Vec::new());
        for (data, extension, upper) in chunks {
            let size = format!("{:02x}", data.len());
            let size = if upper { size.to_uppercase() } else { size };
            coded.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
            coded.extend_from_slice(&data);
            coded.extend_from_slice(b"\r\n");
            content.extend_from_slice(&data);
        }
        coded.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
        (coded, content)
    })
}

proptest! {
    /// The boundaries of reads change neither the content nor the end.
    #[test]
    fn any_split_of_chunks_gives_the_same_content(
        (coded, content) in chunked(),
        rest in vec(any::<u8>(), 0..8),
        pieces in vec(1..20usize, 1..8),
    ) {
        let bytes = [&coded[..], &rest].concat();
        prop_assert_eq!(decode(&bytes, &pieces), Ok((content, Some(coded.len()))));
    }

    /// Nor do they change the error.
    #[test]
    fn any_split_of_chunks_gives_the_same_error(
        (mut bytes, _) in chunked(),
        damages in vec((any::<Index>(), 0..3, prop_oneof![select(b"\r\n;: 0f\0".to_vec()), any::<u8>()]), 0..4),
        pieces in vec(1..20usize, 1..8),
    ) {
        for (at, kind, byte) in damages {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes.insert(at, byte),
                1 => bytes[at] = byte,
                _ => drop(bytes.remove(at)),
            }
        }
        prop_assert_eq!(decode(&bytes, &pieces), decode(&bytes, &[bytes.len()]));
    }
}
