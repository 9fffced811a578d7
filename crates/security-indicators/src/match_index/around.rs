//! Where listed networks lie, roughly: a bit for each block of addresses. Networks are few and of many lengths, so this
//! saves most addresses a probe for each length.

/// Blocks of a family: a bit for each.
const BLOCKS: usize = 1 << 16;
/// Bytes of the blocks of a family.
pub(super) const BYTES: usize = BLOCKS / 8;

/// The blocks that networks of one family lie in or around.
pub(super) struct Around(Box<[u8]>);

impl Default for Around {
    fn default() -> Self {
        Self(vec![0; BYTES].into())
    }
}

impl Around {
    /// As they stand in a file.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// As they are written.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Notes an IPv4 network: the blocks are its /16.
    pub(super) fn add_v4(&mut self, length: u8, key: u32) {
        let first = (key >> 16) as usize;
        let blocks = 1_usize << 16_u8.saturating_sub(length);
        (first..(first + blocks).min(BLOCKS)).for_each(|block| self.set(block));
    }

    /// Notes an IPv6 network: the blocks are its /32, scattered; a shorter one is around all of them.
    pub(super) fn add_v6(&mut self, length: u8, key: u128) {
        match length {
            ..32 => self.0.fill(u8::MAX),
            _ => self.set(block_v6(key)),
        }
    }

    /// Whether a network may lie around an IPv4 address, or around a network that begins with it.
    pub(super) fn has_v4(&self, key: u32) -> bool {
        self.has((key >> 16) as usize)
    }

    /// Likewise of IPv6.
    pub(super) fn has_v6(&self, key: u128) -> bool {
        self.has(block_v6(key))
    }

    fn set(&mut self, block: usize) {
        self.0[block / 8] |= 1 << (block % 8);
    }

    fn has(&self, block: usize) -> bool {
        self.0.get(block / 8).is_some_and(|bits| bits >> (block % 8) & 1 == 1)
    }
}

fn block_v6(key: u128) -> usize {
    (((key >> 96) as u32).wrapping_mul(0x9e37_79b9) >> 16) as usize
}
