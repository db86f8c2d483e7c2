//! Numbers that are unique in the process although each shard counts by itself. Pure.

use crate::ids::ShardId;

/// Counts upwards, with the shard's number above 48 bits of count.
#[derive(Debug)]
pub(super) struct NumberSequence {
    shard: ShardId,
    count: u64,
}

impl NumberSequence {
    /// The numbers of this shard.
    pub(super) fn new(shard: ShardId) -> Self {
        NumberSequence { shard, count: 0 }
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.count += 1;
        (u64::from(self.shard.0) << 48) | self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_different_numbers_on_different_shards() {
        let [mut first, mut second] = [1, 2].map(|shard| NumberSequence::new(ShardId(shard)));
        assert_eq!([first.next(), first.next()], [(1 << 48) + 1, (1 << 48) + 2]);
        assert_eq!(second.next(), (2 << 48) + 1);
    }
}
