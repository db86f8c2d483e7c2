//! A setting of the allocator for large, short-lived blocks. Called once at start.

#![allow(unsafe_code)]

/// Lets the allocator map every block of at least `bytes` for which it has no free hole separately
/// (mmap(2)). Such a block returns to the kernel when it is freed, and grows without being copied
/// (mremap(2)). Blocks on the heap that grow side by side would instead leave holes that fit neither.
/// Returns false if the C library has no such setting.
///
/// By default glibc raises the threshold whenever a larger mapped block is freed, up to 32 MiB, unless
/// it has been set (mallopt(3), `M_MMAP_THRESHOLD`).
pub fn set_mmap_threshold(bytes: u32) -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        // SAFETY: the call takes two numbers and changes only a setting of the allocator.
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
    fn freeing_a_large_block_does_not_raise_the_mmap_threshold() {
        assert!(super::set_mmap_threshold(8192));
        drop(vec![1_u8; 16 << 20]);
        let large: Vec<Vec<u8>> = (0..8).map(|_| vec![1; 3 << 20]).collect();
        // A mapped block begins with glibc's header of 16 bytes at the start of a page. Other tests
        // may have left one or two holes that are used instead.
        let mapped = large.iter().filter(|block| block.as_ptr() as usize % 4096 == 16);
        assert!(mapped.count() >= 6);
    }
}
