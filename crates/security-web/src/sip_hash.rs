//! SipHash-2-4, for the keys of the word table: the same in every process and every build, and unpredictable
//! to whoever does not know the seed. It protects a table, not a secret.
//!
//! Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012). The standard library's hasher is
//! the same family, but neither its variant nor its stability over versions is promised.

/// The hash of `bytes` under a 128-bit key.
pub(crate) fn sip_hash(key: (u64, u64), bytes: &[u8]) -> u64 {
    let mut state = State([
        key.0 ^ 0x736f_6d65_7073_6575,
        key.1 ^ 0x646f_7261_6e64_6f6d,
        key.0 ^ 0x6c79_6765_6e65_7261,
        key.1 ^ 0x7465_6462_7974_6573,
    ]);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        state.take(little_endian(chunk));
    }
    let length = (bytes.len() as u64) << 56;
    state.take(length | little_endian(chunks.remainder()));
    state.0[2] ^= 0xff;
    for _ in 0..4 {
        state.round();
    }
    state.0.into_iter().fold(0, |hash, word| hash ^ word)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

struct State([u64; 4]);

impl State {
    fn take(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_papers_answer() {
        // Appendix A: key 00 01 … 0f, message 00 01 … 0e.
        let key = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let message: Vec<u8> = (0..15).collect();
        assert_eq!(sip_hash(key, &message), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn length_and_key_matter() {
        assert_ne!(sip_hash((1, 2), b""), sip_hash((1, 2), b"\0"));
        assert_ne!(sip_hash((1, 2), b"abcdefgh"), sip_hash((1, 3), b"abcdefgh"));
    }
}
