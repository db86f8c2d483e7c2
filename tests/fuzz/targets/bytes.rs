//! Choices out of the bytes that a fuzzer makes up; when they are used up, all are zero.
#![allow(dead_code, reason = "each target uses a part of it")]

/// What is left of the bytes.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// A number of two bytes.
    pub(crate) fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// The next `count`, or as many as there are.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (now, later) = self.0.split_at(count.min(self.0.len()));
        self.0 = later;
        now
    }

    /// One of them.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Lengths of pieces in which something arrives, over and over.
pub(crate) fn pieces(bytes: &mut Bytes<'_>) -> [usize; 4] {
    [(); 4].map(|()| usize::from(bytes.byte() % 64) + 1)
}

/// `whole` in pieces of these lengths.
pub(crate) fn cut<'w>(whole: &'w [u8], pieces: [usize; 4]) -> impl Iterator<Item = &'w [u8]> {
    let (mut rest, mut next) = (whole, pieces.into_iter().cycle());
    std::iter::from_fn(move || {
        let length = next.next()?.min(rest.len());
        let (now, later) = rest.split_at(length);
        rest = later;
        (length > 0).then_some(now)
    })
}
