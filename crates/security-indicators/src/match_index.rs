//! The listed indicators, ready to be asked whether a value is among them or below one of them.
//!
//! [`MatchIndex`] holds them in memory, [`IndexFile`] reads them from the bytes of an immutable file that all
//! processes of a host share, and [`LayeredIndex`] is such a file with what changed since it was made.
//!
//! A look-up costs one probe for the value, one for each network length that is listed, one for each parent domain,
//! and, if a URL of its site may be listed, one for each of at most [`URL_BOUNDARIES`](walk::URL_BOUNDARIES) path
//! boundaries of a URL.

mod around;
mod build;
mod file;
mod layered;
mod memory;
mod probes;
mod relation;
mod sites;
mod table;
mod walk;

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use smallvec::SmallVec;

pub use build::{IndexBuilder, Scratch};
pub use file::{IndexFile, IndexFileError, IndexId, SectionSize};
pub use layered::{IndexDamaged, LayeredIndex};
pub use memory::MatchIndex;

use crate::{Indicator, IocType, ip};

/// How a checked value met a listed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MatchType {
    /// The same value of the same kind.
    Exact,
    /// An address or a narrower network inside a listed network.
    Cidr,
    /// A host below a listed domain.
    Subdomain,
    /// A URL below a listed URL, at a path boundary.
    UrlPrefix,
    /// The host of a URL, e-mail address or address with a port is listed, or is inside or below what is listed.
    Host,
}

impl MatchType {
    /// `exact`, `cidr`, `subdomain`, `url-prefix` or `host`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Cidr => "cidr",
            Self::Subdomain => "subdomain",
            Self::UrlPrefix => "url-prefix",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for MatchType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for MatchType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A listed row that a checked value met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The row as it was inserted.
    pub row: i64,
    /// How they met.
    pub match_type: MatchType,
}

/// The hits of one check; four fit without an allocation.
pub type Hits = SmallVec<[Hit; 4]>;

/// The level of lone addresses, which are apart from networks of one address: another kind, another row.
const LONE: u8 = u8::MAX;

/// Where an indicator is kept.
enum Place<'a> {
    V4(u8, u32),
    V6(u8, u128),
    Text(IocType, &'a str),
}

impl<'a> Place<'a> {
    fn of(indicator: &'a Indicator) -> Self {
        Self::of_canonical(indicator.kind(), indicator.value())
    }

    /// Of a kind and its canonical value.
    fn of_canonical(kind: IocType, value: &'a str) -> Self {
        let network = match kind {
            IocType::Ip => ip::parse_address(value).ok().map(IpNet::from),
            IocType::Cidr => ip::parse_network(value).ok(),
            _ => None,
        };
        let Some(network) = network else { return Self::Text(kind, value) };
        let level = if kind == IocType::Ip { LONE } else { network.prefix_len() };
        match network {
            IpNet::V4(v4) => Self::V4(level, v4.addr().to_bits()),
            IpNet::V6(v6) => Self::V6(level, v6.addr().to_bits()),
        }
    }
}

/// The first address of the network that `host` is, if it is one.
fn host_address(host: &str) -> Option<IpAddr> {
    ip::parse_address(host).ok()
}
