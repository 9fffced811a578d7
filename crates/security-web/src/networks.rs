//! Sets of networks, by preset, address or prefix.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{WebError, error::shortened};

/// A set of networks. Written as one word or a list of them:
///
/// | word | means |
/// | --- | --- |
/// | `none` | nothing |
/// | `loopback` | 127.0.0.0/8, ::1 |
/// | `private` | 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918), fc00::/7 (RFC 4193) |
/// | `unix` | a peer without an address: a local socket |
/// | `192.0.2.1`, `2001:db8::/32` | that address, that network |
///
/// IPv4-mapped addresses and networks (`::ffff:192.0.2.1`) are the IPv4 ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks {
    words: Vec<String>,
    networks: Vec<IpNet>,
    local_socket: bool,
}

impl Networks {
    /// Reads the words.
    /// # Errors
    /// [`WebError::NotANetwork`] names the first that is none.
    pub fn of<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Result<Self, WebError> {
        let mut set = Self::default();
        for word in words {
            set.add(word.as_ref().trim())?;
        }
        Ok(set)
    }

    /// This host and its private neighbours: `loopback` and `private`.
    pub fn local() -> Self {
        Self::of(["loopback", "private"]).expect("both words are presets")
    }

    /// Whether the address is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether a peer without an address (a local socket) counts as in the set.
    pub fn contains_local_socket(&self) -> bool {
        self.local_socket
    }

    /// Whether nothing at all is in the set.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.local_socket
    }

    /// The words it was written in.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The networks that the words mean.
    pub fn networks(&self) -> impl Iterator<Item = &IpNet> {
        self.networks.iter()
    }

    fn add(&mut self, word: &str) -> Result<(), WebError> {
        let preset: &[&str] = match word {
            "none" => &[],
            "loopback" => &["127.0.0.0/8", "::1/128"],
            "private" => &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
            "unix" => {
                self.local_socket = true;
                &[]
            }
            _ => &[word],
        };
        for text in preset {
            let network = network(text).ok_or_else(|| WebError::NotANetwork(shortened(word)))?;
            if !self.networks.contains(&network) {
                self.networks.push(network);
            }
        }
        self.words.push(word.to_owned());
        Ok(())
    }
}

fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network.trunc(),
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    let IpNet::V6(v6) = network else { return Some(network) };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(v4), Some(prefix)) => Some(IpNet::V4(Ipv4Net::new(v4, prefix).ok()?)),
        _ => Some(network),
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.words.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected one word, or a list of words, that name networks")]
        enum Written {
            One(String),
            Many(Vec<String>),
        }
        let words = match Written::deserialize(deserializer)? {
            Written::One(word) => vec![word],
            Written::Many(words) => words,
        };
        Self::of(words).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(set: &Networks, address: &str) -> bool {
        set.contains(address.parse().unwrap())
    }

    #[test]
    fn presets_addresses_and_networks() {
        let set =
            Networks::of(["loopback", "private", "192.0.2.7", "2001:db8::/32", "203.0.113.9/24"]).unwrap();
        for inside in [
            "127.8.0.1",
            "::1",
            "10.255.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "fd00::1",
            "192.0.2.7",
            "2001:db8::5",
            "203.0.113.200",
            "::ffff:10.0.0.1",
        ] {
            assert!(holds(&set, inside), "{inside}");
        }
        for outside in [
            "128.0.0.1",
            "::2",
            "11.0.0.1",
            "172.32.0.1",
            "192.0.2.8",
            "2001:db9::1",
            "fe80::1",
            "169.254.1.1",
        ] {
            assert!(!holds(&set, outside), "{outside}");
        }
    }

    #[test]
    fn mapped_networks_are_the_ipv4_ones() {
        let set = Networks::of(["::ffff:192.0.2.0/120", "::ffff:198.51.100.1"]).unwrap();
        assert!(holds(&set, "192.0.2.77") && holds(&set, "198.51.100.1"));
        assert!(!holds(&set, "192.0.3.1") && !holds(&set, "198.51.100.2"));
    }

    #[test]
    fn none_is_empty_and_a_local_socket_has_to_be_named() {
        let none = Networks::of(["none"]).unwrap();
        assert!(none.is_empty() && !none.contains_local_socket());
        let unix = Networks::of(["unix"]).unwrap();
        assert!(!unix.is_empty() && unix.contains_local_socket() && !holds(&unix, "127.0.0.1"));
    }

    #[test]
    fn refuses_other_words_by_name() {
        for bad in ["", "public", "10.0.0.0/33", "10.0.0", "010.0.0.1", "example.com", "fe80::1%eth0", "*"] {
            assert_eq!(Networks::of([bad]), Err(WebError::NotANetwork(bad.to_owned())));
        }
    }

    #[test]
    fn reads_one_word_or_many() {
        let one: Networks = serde_json::from_str(r#""private""#).unwrap();
        let many: Networks = serde_json::from_str(r#"["private"]"#).unwrap();
        assert_eq!(one, many);
        assert_eq!(serde_json::to_string(&many).unwrap(), r#"["private"]"#);
        assert!(serde_json::from_str::<Networks>("[1]").is_err());
    }
}
