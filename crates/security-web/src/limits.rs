//! Counting requests in the table that all processes share.

use std::{
    hash::Hasher as _,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use security_core::{Admission, Rate, Timestamp, WordTable};
use siphasher::sip::SipHasher24;

/// Whose requests of what kind are counted. Each kind has a namespace of its own in the table.
///
/// Clients are counted by [`client_network`]; all clients whose address is unknown are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitScope<'a> {
    /// Requests with an API key, by its id.
    Key(&'a str),
    /// Requests of a client.
    Client(Option<IpAddr>),
    /// Wrong secrets of a client, by rate.
    FailedAuthentication(Option<IpAddr>),
    /// Wrong secrets of a client in a row.
    LockOut(Option<IpAddr>),
    /// Records of a client's refused requests.
    RefusalRecord(Option<IpAddr>),
}

impl LimitScope<'_> {
    /// The key of the table: SipHash-2-4 (Aumasson and Bernstein), the same in every process and every build. `seed` is the installation's: the same in all its processes, and unknown outside,
    /// or somebody could choose addresses that share an entry with others'.
    pub fn hash(self, seed: u64) -> u64 {
        // Half the key is derived; 64 secret bits are plenty for a table that forgets within minutes.
        let sip = SipHasher24::new_with_keys(seed, seed.rotate_left(29) ^ 0x7365_6375_7269_7479);
        match self {
            Self::Key(id) => {
                let mut sip = sip;
                sip.write(&[1]);
                sip.write(id.as_bytes());
                sip.finish()
            }
            Self::Client(ip) => sip.hash(&client_bytes(2, ip)),
            Self::FailedAuthentication(ip) => sip.hash(&client_bytes(3, ip)),
            Self::LockOut(ip) => sip.hash(&client_bytes(4, ip)),
            Self::RefusalRecord(ip) => sip.hash(&client_bytes(5, ip)),
        }
    }
}

/// The network a client is counted by: the address itself for IPv4 (IPv4-mapped IPv6 included), the /64 for
/// IPv6, since one customer has at least that many addresses to choose from (RFC 6177).
pub fn client_network(ip: IpAddr) -> IpNet {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpNet::V4(Ipv4Net::from(v4)),
        IpAddr::V6(v6) => {
            let prefix = Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64);
            IpNet::V6(Ipv6Net::new_assert(prefix, 64))
        }
    }
}

/// Namespace, family (0: unknown), network; of one length for all.
fn client_bytes(namespace: u8, ip: Option<IpAddr>) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[0] = namespace;
    match ip.map(client_network) {
        None => {}
        Some(IpNet::V4(network)) => {
            bytes[1] = 4;
            bytes[2..6].copy_from_slice(&network.addr().octets());
        }
        Some(IpNet::V6(network)) => {
            bytes[1] = 6;
            bytes[2..].copy_from_slice(&network.addr().octets()[..8]);
        }
    }
    bytes
}

/// Counts one request and says whether it may pass. Exact over all processes that share the table.
pub fn admit(table: &dyn WordTable, seed: u64, key: LimitScope<'_>, rate: Rate, now: Timestamp) -> Admission {
    admit_at(table, key.hash(seed), rate, now)
}

/// Likewise, for who has computed [`LimitScope::hash`] already.
pub fn admit_at(table: &dyn WordTable, key: u64, rate: Rate, now: Timestamp) -> Admission {
    let mut said = Admission { admitted: true, remaining: 0, retry_after_micros: 0 };
    table.update(key, now, &mut |word| {
        let (next, admission) = rate.admit(word, now);
        said = admission;
        next
    });
    said
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::{collections::HashMap, sync::Mutex, time::Duration};

    /// A table that forgets nothing but what has expired.
    #[derive(Default)]
    pub(crate) struct MapTable(Mutex<HashMap<u64, u64>>);

    impl WordTable for MapTable {
        fn update(&self, key: u64, now: Timestamp, step: &mut dyn FnMut(u64) -> u64) -> u64 {
            let mut words = self.0.lock().unwrap();
            let word = words.entry(key).or_default();
            let now = u64::try_from(now.as_micros()).unwrap();
            *word = step(if *word > now { *word } else { 0 });
            *word
        }

        fn read(&self, key: u64) -> u64 {
            self.0.lock().unwrap().get(&key).copied().unwrap_or_default()
        }
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn ipv6_clients_count_by_64_and_mapped_ones_as_ipv4() {
        let hash = |text| LimitScope::Client(ip(text)).hash(7);
        assert_eq!(hash("2001:db8:1:2::1"), hash("2001:db8:1:2:ffff::9"));
        assert_ne!(hash("2001:db8:1:2::1"), hash("2001:db8:1:3::1"));
        assert_eq!(hash("::ffff:192.0.2.1"), hash("192.0.2.1"));
        assert_ne!(hash("192.0.2.1"), hash("192.0.2.2"));
        assert_eq!(client_network("2001:db8:1:2::1".parse().unwrap()).to_string(), "2001:db8:1:2::/64");
        assert_eq!(client_network("192.0.2.1".parse().unwrap()).to_string(), "192.0.2.1/32");
    }

    #[test]
    fn namespaces_and_seeds_are_apart() {
        let one = ip("192.0.2.1");
        let hashes = [
            LimitScope::Client(one).hash(1),
            LimitScope::FailedAuthentication(one).hash(1),
            LimitScope::LockOut(one).hash(1),
            LimitScope::Client(None).hash(1),
            LimitScope::Client(ip("0.0.0.0")).hash(1),
            LimitScope::Client(ip("::")).hash(1),
            LimitScope::Key("k").hash(1),
            LimitScope::Key("").hash(1),
            LimitScope::Client(one).hash(2),
        ];
        let distinct: std::collections::HashSet<u64> = hashes.into_iter().collect();
        assert_eq!(distinct.len(), hashes.len());
    }

    #[test]
    fn admits_each_client_its_own_burst() {
        let table = MapTable::default();
        let rate = Rate::new(3, 60);
        let now = Timestamp::from_seconds(1_000_000);
        let ask = |address, at| admit(&table, 5, LimitScope::Client(ip(address)), rate, at).admitted;
        assert!((0..3).all(|_| ask("192.0.2.1", now)));
        assert!(!ask("192.0.2.1", now));
        assert!(ask("192.0.2.2", now));
        assert!(ask("192.0.2.1", now.plus(Duration::from_secs(20))));
        assert!(!ask("192.0.2.1", now.plus(Duration::from_secs(20))));
    }
}
