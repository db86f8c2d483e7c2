//! Hexadecimal digits of 64-bit numbers, eight digits at a step without branches. Pure.

/// Hexadecimal digits that one step converts, as one word of eight bytes.
const STEP: usize = 8;

/// The eight digits of `value`, most significant first.
#[inline]
fn digits_of(value: u32) -> [u8; STEP] {
    // Spread the nibbles over the bytes of a word, then convert all bytes to digits at once.
    let mut word = u64::from(value);
    word = (word | word << 16) & 0x0000_ffff_0000_ffff;
    word = (word | word << 8) & 0x00ff_00ff_00ff_00ff;
    word = (word | word << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 in each byte of ten or more: these digits are letters.
    let letters = (word + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (word + 0x3030_3030_3030_3030 + letters * 39).to_be_bytes()
}

/// The inverse of [`digits_of`]. Bytes that are not digits give an arbitrary number, which the
/// checksum of the message detects.
#[inline]
fn value_of(digits: [u8; STEP]) -> u32 {
    let word = u64::from_be_bytes(digits);
    let letters = word >> 6 & 0x0101_0101_0101_0101;
    let mut word = (word & 0x0f0f_0f0f_0f0f_0f0f) + letters * 9;
    word = (word | word >> 4) & 0x00ff_00ff_00ff_00ff;
    word = (word | word >> 8) & 0x0000_ffff_0000_ffff;
    (word | word >> 16) as u32
}

/// Writes the digits of `value` to the 16 bytes of `slot`.
#[inline]
pub(super) fn write_hex(slot: &mut [u8], value: u64) {
    slot[..STEP].copy_from_slice(&digits_of((value >> 32) as u32));
    slot[STEP..].copy_from_slice(&digits_of(value as u32));
}

/// Reads 16 digits.
#[inline]
pub(super) fn read_hex(digits: &[u8]) -> Option<u64> {
    let (high, low) = digits.split_first_chunk::<STEP>()?;
    let low = low.try_into().ok()?;
    Some(u64::from(value_of(*high)) << 32 | u64::from(value_of(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_equal_those_of_the_standard_library() {
        for value in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 0xa0_9f00] {
            let mut digits = [0; 16];
            write_hex(&mut digits, value);
            assert_eq!(std::str::from_utf8(&digits).unwrap(), format!("{value:016x}"));
            assert_eq!(read_hex(&digits), Some(value));
        }
    }
}
