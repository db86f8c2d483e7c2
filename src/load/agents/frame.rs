//! Frames on a control connection: the length in four bytes, most significant first, then the content.

use std::io::{self, Read, Write};

/// Longest frame before both sides have proved that they know the secret.
pub const MAX_GREETING_BYTES: usize = 4 * 1024;
/// Longest frame after that: an order with an access token for each of 100,000 users fits in.
pub const MAX_FRAME_BYTES: usize = 32 * 1024 * 1024;
/// A frame is read in parts of this size, so that a false length does not take memory.
const PART_BYTES: usize = 64 * 1024;

/// Writes one frame.
///
/// # Errors
/// When the content is too long, or the connection fails.
pub fn write_frame(to: &mut impl Write, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).ok().filter(|_| content.len() <= MAX_FRAME_BYTES);
    let length = length.ok_or(io::ErrorKind::FileTooLarge)?;
    // One write: two would be two segments.
    let mut frame = Vec::with_capacity(4 + content.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(content);
    to.write_all(&frame)
}

/// Reads one frame of at most `max_bytes`.
///
/// # Errors
/// When the frame is longer, or the connection fails or ends.
pub fn read_frame(from: &mut impl Read, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > max_bytes {
        let line = format!("a frame of {length} bytes; at most {max_bytes} are allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, line));
    }
    let mut content = Vec::new();
    while content.len() < length {
        let start = content.len();
        content.resize(length.min(start + PART_BYTES), 0);
        from.read_exact(&mut content[start..])?;
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        for length in [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES] {
            let content: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut bytes = Vec::new();
            write_frame(&mut bytes, &content).unwrap();
            write_frame(&mut bytes, b"next").unwrap();
            let mut rest = &bytes[..];
            assert_eq!(read_frame(&mut rest, MAX_FRAME_BYTES).unwrap(), content);
            assert_eq!(read_frame(&mut rest, 4).unwrap(), b"next");
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_is_read() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, b"12345").unwrap();
        let mut rest = &bytes[..];
        let error = read_frame(&mut rest, 4).unwrap_err();
        assert_eq!((error.kind(), rest.len()), (io::ErrorKind::InvalidData, 5));
        // A length without content takes no memory of that size.
        let error = read_frame(&mut &u32::MAX.to_be_bytes()[..], MAX_FRAME_BYTES).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = read_frame(&mut &(1u32 << 24).to_be_bytes()[..], MAX_FRAME_BYTES).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let long = vec![0; MAX_FRAME_BYTES + 1];
        let error = write_frame(&mut Vec::new(), &long).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
