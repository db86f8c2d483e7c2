//! A hint to the processor that a value will be read soon.

#![allow(unsafe_code)]

/// Requests the cache line in which `value` begins, without waiting for it. It only affects the time
/// of the next access; on other architectures it does nothing.
///
/// A plain load is no substitute: it occupies the reorder buffer until its data arrives, so after
/// about a dozen of them further loads have to wait.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction belongs to SSE, which every x86-64 has, and it never faults on any
        // address; this address is valid.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

#[cfg(test)]
mod tests {
    #[test]
    fn prefetching_does_not_change_the_value() {
        let value = [7_u64; 9];
        super::prefetch(&value);
        super::prefetch(&[0_u8; 0]);
        assert_eq!(value, [7; 9]);
    }
}
