//! A hint to the processor that a value is going to be needed.

#![allow(unsafe_code)]

/// Asks for the cache line in which `value` begins, and does not wait for it. It changes nothing
/// but the time that the next access takes; where there is no such instruction it does nothing.
///
/// A plain load does not do: it occupies the processor's reorder buffer until it is answered,
/// and so the loads behind the next dozen wait with it.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction belongs to SSE, which every x86-64 has, and it never faults,
        // whatever the address; this one is even valid.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_hint_changes_nothing() {
        let value = [7_u64; 9];
        super::prefetch(&value);
        super::prefetch(&[0_u8; 0]);
        assert_eq!(value, [7; 9]);
    }
}
