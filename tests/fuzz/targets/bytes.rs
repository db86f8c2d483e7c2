//! Derives choices from the bytes of a fuzz input. When the bytes are used up, every choice is zero.
#![allow(dead_code, reason = "each target uses only a part")]

/// The bytes of the input that have not been used.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl<'a> Choices<'a> {
    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// A number from two bytes.
    pub(crate) fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// The next `count` bytes, or as many as there are.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// One of the elements of `from`.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    /// Whether all bytes have been used.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Lengths of the pieces in which bytes arrive; they are repeated.
pub(crate) fn piece_lengths(choices: &mut Choices<'_>) -> [usize; 4] {
    [(); 4].map(|()| usize::from(choices.byte() % 64) + 1)
}

/// `whole` split into pieces of these lengths.
pub(crate) fn split<'w>(whole: &'w [u8], lengths: [usize; 4]) -> impl Iterator<Item = &'w [u8]> {
    let (mut rest, mut next) = (whole, lengths.into_iter().cycle());
    std::iter::from_fn(move || {
        let length = next.next()?.min(rest.len());
        let (piece, remaining) = rest.split_at(length);
        rest = remaining;
        (length > 0).then_some(piece)
    })
}
