//! The budget hostile input gets.

/// Bounds on what one call may read, find or build. Every parser takes one; the defaults suit a web request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest input read, in bytes.
    pub max_bytes: usize,
    /// The most results one call gives back.
    pub max_hits: usize,
    /// The deepest nesting followed in structured input.
    pub max_depth: usize,
    /// The longest single value looked at, in bytes; longer ones are no indicator, key or field.
    pub max_value: usize,
}

impl Limits {
    /// 64 MiB of input, a million hits, depth 64, values of 8 KiB.
    pub const DEFAULT: Self =
        Self { max_bytes: 64 << 20, max_hits: 1_000_000, max_depth: 64, max_value: 8 << 10 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
