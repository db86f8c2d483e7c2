//! The source of all choices: a seed, or input bytes from a fuzzer.

/// SplitMix64 (Steele, Lea and Flood, 2014), after the input bytes are used up.
#[derive(Debug)]
pub(crate) struct Random {
    state: u64,
    input: Vec<u8>,
    at: usize,
}

impl Random {
    /// All choices follow from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Random { state: seed, input: Vec::new(), at: 0 }
    }

    /// The first choices are taken from `input`, two bytes each; the others follow from it.
    pub(crate) fn from_bytes(input: &[u8]) -> Self {
        let mix = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let state = input.iter().fold(0xcbf2_9ce4_8422_2325, mix);
        Random { state, input: input.to_vec(), at: 0 }
    }

    /// A 64-bit number.
    pub(crate) fn word(&mut self) -> u64 {
        if let Some(&[low, high]) = self.input.get(self.at..self.at + 2) {
            self.at += 2;
            return u64::from(u16::from_le_bytes([low, high]));
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    /// A number from `least` to `most`.
    pub(crate) fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    /// True with this probability in thousandths.
    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1000) < per_mille as usize
    }

    /// One element of `from`.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// One element of `from`, chosen by weight. The weights must not all be zero.
    pub(crate) fn weighted<T: Copy>(&mut self, from: &[(T, u32)]) -> T {
        let all: u32 = from.iter().map(|(_, weight)| weight).sum();
        let mut at = self.below(all as usize) as u32;
        for (what, weight) in from {
            if at < *weight {
                return *what;
            }
            at -= weight;
        }
        from[0].0
    }

    /// Shuffles the elements.
    pub(crate) fn shuffle<T>(&mut self, these: &mut [T]) {
        for end in (1..these.len()).rev() {
            these.swap(end, self.below(end + 1));
        }
    }
}
