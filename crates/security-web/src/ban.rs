//! Bans: networks that an operator turned away for a while, with the reason.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;
use security_core::{Revision, StoreFault, Timestamp};
use serde::{Deserialize, Serialize};

use crate::client_network;

/// The most bans at a time. Longer lists are indicators: they have sources, confidence and an index.
pub const MAX_BANS: usize = 10_000;

/// The longest ban. Whoever is to be turned away for longer is better listed as an indicator.
pub const LONGEST_BAN: Duration = Duration::from_secs(366 * 86_400);

/// By how much a clock may be set back without ending the longest ban.
const CORRECTION: Duration = Duration::from_secs(86_400);

/// One network that is turned away until a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The network; no host bits, IPv4 where it is IPv4-mapped.
    pub network: IpNet,
    /// Why, in the operator's words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Who: the account and program that banned it.
    pub by: String,
}

impl Ban {
    /// Whether it is in force.
    pub fn holds(&self, now: Timestamp) -> bool {
        // An end further ahead than any ban comes from a clock that was years ahead when it was put in force.
        now < self.until && self.until.since(now) <= LONGEST_BAN + CORRECTION
    }
}

/// The network that a ban of this address or network means: an IPv6 address is banned with its /64, as its owner
/// has all of that to choose from.
pub fn ban_network(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) if v6.prefix_len() > 64 => client_network(IpAddr::V6(v6.addr())),
        other => other.trunc(),
    }
}

/// All bans of one revision, to be asked for every request.
#[derive(Debug, Clone, Default)]
pub struct BanList {
    by_network: HashMap<IpNet, Ban>,
    /// The prefix lengths that occur, the longest first; IPv4 and IPv6 apart.
    lengths: [Vec<u8>; 2],
}

impl BanList {
    /// The list of these bans.
    pub fn of(bans: impl IntoIterator<Item = Ban>) -> Self {
        let by_network: HashMap<IpNet, Ban> = bans.into_iter().map(|ban| (ban.network, ban)).collect();
        let lengths = [true, false].map(|is_v4| {
            let of_family = by_network.keys().filter(|network| network.addr().is_ipv4() == is_v4);
            let lengths: BTreeSet<u8> = of_family.map(IpNet::prefix_len).collect();
            lengths.into_iter().rev().collect()
        });
        Self { by_network, lengths }
    }

    /// The narrowest ban in force that covers an address; IPv4-mapped ones as IPv4.
    pub fn find(&self, address: IpAddr, now: Timestamp) -> Option<&Ban> {
        if self.by_network.is_empty() {
            return None;
        }
        let address = address.to_canonical();
        let lengths = &self.lengths[usize::from(!address.is_ipv4())];
        lengths.iter().find_map(|length| {
            let network = IpNet::new(address, *length).ok()?.trunc();
            self.by_network.get(&network).filter(|ban| ban.holds(now))
        })
    }

    /// How many there are, in force or not.
    pub fn len(&self) -> usize {
        self.by_network.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_network.is_empty()
    }
}

/// Keeps bans. Every change is durable when its call returns, and announced in the domain of credentials: both are
/// about who may come in.
pub trait BanStore: Send + Sync {
    /// All bans, those over included, if there are others than at `since`; `None` if not.
    fn bans_since(&self, since: Revision) -> Result<Option<(Revision, Vec<Ban>)>, StoreFault>;

    /// Puts a ban in force, in place of one of the same network; forgets those that are over `now`.
    /// # Errors
    /// `store-full-of-bans` when there are [`MAX_BANS`].
    fn put_ban(&self, ban: &Ban, now: Timestamp) -> Result<(), StoreFault>;

    /// Lifts the ban of exactly this network; the ban, or `None` when there is none.
    fn lift_ban(&self, network: IpNet) -> Result<Option<Ban>, StoreFault>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ban(network: &str, until: i64) -> Ban {
        Ban {
            network: network.parse().unwrap(),
            reason: "scans".into(),
            since: Timestamp::from_seconds(0),
            until: Timestamp::from_seconds(until),
            by: "uid 0, test".into(),
        }
    }

    fn find(list: &BanList, address: &str, now: i64) -> Option<String> {
        let found = list.find(address.parse().unwrap(), Timestamp::from_seconds(now));
        found.map(|ban| ban.network.to_string())
    }

    #[test]
    fn the_narrowest_in_force_is_found() {
        let list = BanList::of([
            ban("203.0.113.0/24", 100),
            ban("203.0.113.9/32", 50),
            ban("2001:db8:1:2::/64", 100),
            ban("2001:db8::/32", 20),
        ]);
        assert_eq!(find(&list, "203.0.113.9", 10).unwrap(), "203.0.113.9/32");
        assert_eq!(find(&list, "203.0.113.9", 50).unwrap(), "203.0.113.0/24", "one that is over bans nobody");
        assert_eq!(find(&list, "::ffff:203.0.113.8", 10).unwrap(), "203.0.113.0/24");
        assert_eq!(find(&list, "203.0.113.8", 100), None);
        assert_eq!(find(&list, "203.0.114.1", 10), None);
        assert_eq!(find(&list, "2001:db8:1:2:3::4", 10).unwrap(), "2001:db8:1:2::/64");
        assert_eq!(find(&list, "2001:db8:1:3::4", 10).unwrap(), "2001:db8::/32");
        assert_eq!(find(&list, "2001:db8:1:3::4", 20), None);
        assert_eq!((list.len(), BanList::default().is_empty()), (4, true));
    }

    #[test]
    fn a_clock_that_was_years_ahead_turns_nobody_away_for_years() {
        let list = BanList::of([ban("203.0.113.9/32", 250_000_000_000)]);
        assert!(find(&list, "203.0.113.9", 250_000_000_000 - 3600).is_some());
        assert_eq!(find(&list, "203.0.113.9", 1_800_000_000), None);
        let longest = i64::try_from(LONGEST_BAN.as_secs()).unwrap();
        let list = BanList::of([ban("203.0.113.9/32", 1_800_000_000 + longest)]);
        assert!(find(&list, "203.0.113.9", 1_800_000_000 - 3600).is_some(), "a correction of the clock");
    }

    #[test]
    fn an_ipv6_address_is_banned_with_its_customers_network() {
        for (given, meant) in [
            ("203.0.113.9/32", "203.0.113.9/32"),
            ("203.0.113.0/24", "203.0.113.0/24"),
            ("2001:db8:1:2:3::4/128", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:8000::/65", "2001:db8:1:2::/64"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(ban_network(given.parse().unwrap()).to_string(), meant);
        }
    }

    proptest! {
        /// Against a look through all of them.
        #[test]
        fn finds_what_a_look_through_all_finds(
            bans in prop::collection::vec((0u8..4, 24u8..=32, 0i64..3), 0..12), last in 0u8..4, now in 0i64..3,
        ) {
            let bans: Vec<Ban> = bans
                .into_iter()
                .map(|(last, length, until)| {
                    let network = IpNet::new(IpAddr::from([192, 0, 2, last]), length).unwrap().trunc();
                    ban(&network.to_string(), until)
                })
                .collect();
            let list = BanList::of(bans.clone());
            let address = IpAddr::from([192, 0, 2, last]);
            let now = Timestamp::from_seconds(now);
            // Of several of one network the last one stands.
            let standing = bans.iter().enumerate().filter(|(at, ban)| {
                !bans[at + 1..].iter().any(|later| later.network == ban.network)
            });
            let expected = standing
                .map(|(_, ban)| ban)
                .filter(|ban| ban.network.contains(&address) && ban.holds(now))
                .max_by_key(|ban| ban.network.prefix_len());
            prop_assert_eq!(list.find(address, now), expected);
        }
    }
}
