//! How the allocator deals with blocks that are large and do not stay.

#![allow(unsafe_code)]

/// From `bytes` on every block for which no hole is left has pages of its own (mmap(2)), which go back to the kernel with
/// the block and grow without being copied (mremap(2)). Blocks that grow side by side would
/// otherwise leave holes behind that hold neither. False where the C library has no such setting.
///
/// glibc raises the border by itself whenever a larger block is freed, up to 32 MiB, unless it has
/// been set (mallopt(3), `M_MMAP_THRESHOLD`).
pub fn give_blocks_their_own_pages(bytes: u32) -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        // SAFETY: it takes two numbers and changes a setting of the allocator's own.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, bytes) != 0 }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    {
        let _ = bytes;
        false
    }
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn a_large_block_that_is_freed_does_not_raise_the_border() {
        assert!(super::give_blocks_their_own_pages(8192));
        drop(vec![1_u8; 16 << 20]);
        let large: Vec<Vec<u8>> = (0..8).map(|_| vec![1; 3 << 20]).collect();
        // glibc's header of 16 bytes is then the first thing on the first page. Other tests may
        // have left a hole or two.
        let alone = large.iter().filter(|block| block.as_ptr() as usize % 4096 == 16);
        assert!(alone.count() >= 6);
    }
}
