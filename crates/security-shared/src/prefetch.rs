//! Having memory brought near before it is read, so that the processor computes something else meanwhile.

/// Bytes of a line of the processor's cache, or fewer.
const LINE: usize = 64;

/// Begins to bring some bytes near and waits for none of them: who reads them a hundred nanoseconds later finds them
/// there. Changes nothing that can be seen.
pub fn bring_near(bytes: &[u8]) {
    bytes.iter().step_by(LINE).for_each(line_of);
    bytes.last().into_iter().for_each(line_of);
}

/// The line that something begins in.
pub(crate) fn line_of<T>(thing: &T) {
    let place: *const i8 = std::ptr::from_ref(thing).cast();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        #[allow(unsafe_code)]
        // SAFETY: a prefetch is a hint: it reads no value, faults at no address and changes no memory; SSE, which it
        // belongs to, is part of every x86-64. The place comes from a reference besides.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(place);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box(place);
}
