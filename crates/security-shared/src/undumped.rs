//! Memory that no core dump has: for secrets that a process holds as long as it lives.
//!
//! What is computed with them passes over stacks and through registers, which a dump has; and so has the environment that some
//! of them came from, unless it is scrubbed. Where a system knows no such memory, it is plain memory.

use std::{fmt, io, marker::PhantomData, ops::Deref};

use memmap2::{MmapMut, MmapOptions};
use security_core::{KeptBytes, Secret, StoreFault};

/// Pages begin at multiples of this, or of more.
const PAGE: usize = 4096;

/// A value in pages of its own that are left out of core dumps, and wiped before they are given back.
pub struct Undumped<T> {
    pages: MmapMut,
    kind: PhantomData<T>,
}

/// Pages that hold bytes, all of them the secret's but what fills up the last one.
struct Bytes {
    pages: MmapMut,
    length: usize,
}

impl<T> Undumped<T> {
    /// Puts a value there.
    /// # Errors
    /// `shared-unavailable`: the system gives no memory.
    pub fn new(value: T) -> Result<Self, StoreFault> {
        const { assert!(align_of::<T>() <= PAGE, "a page is aligned enough") };
        let mut pages = pages(size_of::<T>()).map_err(|error| unavailable(&error))?;
        #[allow(unsafe_code)]
        // SAFETY: the pages are writable, at least as long as the value, and begin at a multiple of a page, which is enough for
        // its alignment (asserted above). Nobody else has a pointer into them.
        unsafe {
            pages.as_mut_ptr().cast::<T>().write(value);
        }
        Ok(Self { pages, kind: PhantomData })
    }
}

impl<T> Deref for Undumped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        #[allow(unsafe_code)]
        // SAFETY: `new` has put a value there, which stays until `drop`; pages do not move with their owner, and are changed by
        // nobody.
        unsafe {
            &*self.pages.as_ptr().cast::<T>()
        }
    }
}

impl<T> Drop for Undumped<T> {
    fn drop(&mut self) {
        #[allow(unsafe_code)]
        // SAFETY: the value is there, and nobody sees it any more: this is its owner's end, and happens once.
        unsafe {
            self.pages.as_mut_ptr().cast::<T>().drop_in_place();
        }
        wipe(&mut self.pages);
    }
}

impl<T: fmt::Debug> fmt::Debug for Undumped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The same secret where no core dump has it; where the system gives no memory for that, as it is.
pub fn undumped(secret: Secret) -> Secret {
    let bytes = secret.expose();
    match pages(bytes.len()) {
        Ok(mut pages) => {
            pages[..bytes.len()].copy_from_slice(bytes);
            Secret::kept(Box::new(Bytes { length: bytes.len(), pages }))
        }
        Err(_) => secret,
    }
}

impl KeptBytes for Bytes {
    fn bytes(&self) -> &[u8] {
        &self.pages[..self.length]
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        wipe(&mut self.pages);
    }
}

fn pages(length: usize) -> io::Result<MmapMut> {
    let pages = MmapOptions::new().len(length.max(1)).map_anon()?;
    #[cfg(target_os = "linux")]
    pages.advise(memmap2::Advice::DontDump)?;
    Ok(pages)
}

fn wipe(pages: &mut MmapMut) {
    pages.fill(0);
    // What is given back right after may not be left out.
    std::hint::black_box(&pages[..]);
}

fn unavailable(error: &io::Error) -> StoreFault {
    StoreFault::new("shared-unavailable", format!("no memory for secrets: {error}"))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::{fs, sync::atomic::AtomicUsize};

    /// Whether the memory around an address is left out of dumps: `dd` among the flags of its mapping.
    fn is_left_out<T: ?Sized>(place: *const T) -> bool {
        let at = place.cast::<u8>() as usize;
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut within = false;
        for line in smaps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            if let Some((from, to)) = range
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                within = (from..to).contains(&at);
            } else if within && let Some(flags) = line.strip_prefix("VmFlags:") {
                return flags.split_ascii_whitespace().any(|flag| flag == "dd");
            }
        }
        panic!("the address is in no mapping");
    }

    #[test]
    fn what_is_put_there_is_left_out_of_dumps() {
        let here = Secret::new(vec![7; 5000]);
        assert!(!is_left_out(here.expose().as_ptr()), "plain memory");
        let kept = undumped(here);
        assert!(is_left_out(kept.expose().as_ptr()) && is_left_out(&kept.expose()[4999]));
        assert_eq!(kept.expose(), [7; 5000]);
        let value = Undumped::new([3_u64; 9]).unwrap();
        assert!(is_left_out(&raw const *value));
        assert_eq!(*value, [3; 9]);
        assert_eq!(undumped(Secret::new("")).expose(), b"");
        assert_eq!(format!("{kept:?}"), "Secret(****)");
    }

    #[test]
    fn a_value_is_dropped_once_and_goes_between_threads() {
        static DROPS: AtomicUsize = AtomicUsize::new(0);
        struct Counted(u8);
        impl Drop for Counted {
            fn drop(&mut self) {
                DROPS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let value = Undumped::new(Counted(4)).unwrap();
        assert_eq!(std::thread::spawn(move || value.0).join().unwrap(), 4);
        assert_eq!(DROPS.load(std::sync::atomic::Ordering::SeqCst), 1);
    }
}
