//! The checksum over a message. Pure.

/// Bytes that one step of the checksum consumes: four words.
pub(super) const STRIDE: usize = 32;

/// Continues `hash` over `bytes`. The two products of a step are independent of each other. The
/// last step is not shortened: it overlaps the step before it.
pub(super) fn checksum(mut hash: u64, bytes: &[u8]) -> u64 {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    for stride in strides {
        hash = step(hash, stride);
    }
    if rest.is_empty() {
        return hash;
    }
    let mut padded = [0; STRIDE];
    step(
        hash,
        bytes.last_chunk().unwrap_or_else(|| {
            padded[..rest.len()].copy_from_slice(rest);
            &padded
        }),
    )
}

#[inline]
fn step(hash: u64, stride: &[u8; STRIDE]) -> u64 {
    // Irregular bit patterns; the first are the digits of the golden ratio.
    const KEYS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03, 0x8cb9_2ba7_2f3d_8dd7];
    let word = |at: usize| {
        let bytes = stride[at..].first_chunk().expect("because a stride has 32 bytes");
        u64::from_le_bytes(*bytes)
    };
    fold(hash ^ word(0), KEYS[0] ^ word(8))
        .wrapping_add(fold(KEYS[1] ^ word(16), KEYS[2] ^ word(24)))
}

/// The exclusive or of both halves of the 128-bit product: each input bit affects every output
/// bit.
#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}
