//! Which networks lie around an address: sorted, each with the nearest one around it.

/// No network.
const NONE: u32 = u32::MAX;

/// An address of one family as a number.
pub(super) trait Bits: Copy + Ord {
    /// The first bits of it.
    fn prefix(self, length: u8) -> Self;
}

impl Bits for u32 {
    fn prefix(self, length: u8) -> Self {
        if length == 0 { 0 } else { self & (Self::MAX << (32 - length)) }
    }
}

impl Bits for u128 {
    fn prefix(self, length: u8) -> Self {
        if length == 0 { 0 } else { self & (Self::MAX << (128 - length)) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Network {
    length: u8,
    list: u16,
    around: u32,
}

/// The networks of one family. Two of them lie one in the other or apart, so whatever lies around an address lies
/// around the last one that begins before it.
#[derive(Debug)]
pub(super) struct Networks<T> {
    starts: Vec<T>,
    networks: Vec<Network>,
}

impl<T: Bits> Networks<T> {
    /// Of starts, prefix lengths and lists in any order; of one list each counts once.
    pub(super) fn new(mut listed: Vec<(T, u8, u16)>) -> Self {
        listed.sort_unstable();
        listed.dedup();
        let (mut starts, mut networks) = (Vec::with_capacity(listed.len()), Vec::with_capacity(listed.len()));
        let mut open: Vec<u32> = Vec::new();
        for (start, length, list) in listed {
            while let Some(&last) = open.last() {
                let outer: &Network = &networks[last as usize];
                if outer.length <= length && start.prefix(outer.length) == starts[last as usize] {
                    break;
                }
                open.pop();
            }
            let around = open.last().copied().unwrap_or(NONE);
            open.push(u32::try_from(networks.len()).unwrap_or(NONE));
            starts.push(start);
            networks.push(Network { length, list, around });
        }
        Self { starts, networks }
    }

    /// Calls `each` with list and prefix length of every network around one, the nearest first.
    pub(super) fn around(&self, start: T, length: u8, mut each: impl FnMut(u16, u8)) {
        let last = self.starts.partition_point(|listed| *listed <= start);
        let mut at = last.checked_sub(1).map_or(NONE, |at| u32::try_from(at).unwrap_or(NONE));
        while let Some(network) = self.networks.get(at as usize) {
            if network.length <= length && start.prefix(network.length) == self.starts[at as usize] {
                each(network.list, network.length);
            }
            at = network.around;
        }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.starts.capacity() * size_of::<T>() + self.networks.capacity() * size_of::<Network>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_answer_as_a_look_at_each_one(
            listed in prop::collection::vec((0u32..64, 24u8..=32, 0u16..3), 0..60),
            checked in prop::collection::vec((0u32..64, 24u8..=32), 1..20),
        ) {
            let listed: Vec<_> =
                listed.into_iter().map(|(start, length, list)| ((start << 2).prefix(length), length, list)).collect();
            let networks = Networks::new(listed.clone());
            for (start, length) in checked {
                let start = (start << 2).prefix(length);
                let mut expected: Vec<_> = listed
                    .iter()
                    .filter(|(outer, wide, _)| *wide <= length && start.prefix(*wide) == *outer)
                    .map(|(_, wide, list)| (*list, *wide))
                    .collect();
                expected.sort_unstable();
                expected.dedup();
                let mut met = Vec::new();
                networks.around(start, length, |list, wide| met.push((list, wide)));
                prop_assert!(met.is_sorted_by_key(|(_, wide)| std::cmp::Reverse(*wide)));
                met.sort_unstable();
                prop_assert_eq!(met, expected);
            }
        }
    }
}
