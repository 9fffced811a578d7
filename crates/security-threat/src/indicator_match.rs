//! What a rule's `ioc` compares with, and the index over all of a rule set's values.

use std::collections::{BTreeSet, HashMap};

use ipnet::IpNet;
use security_indicators::{Indicator, IocType};

use crate::{RuleError, fold::fold};

/// One value of an `ioc`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum IndicatorTest {
    /// Exactly this one; a domain also stands for its subdomains.
    Is(Indicator),
    /// An address or network inside this one.
    Inside(IpNet),
    /// A subdomain of this domain.
    Below(String),
    /// Any indicator of the kind.
    Any(IocType),
    /// Text with `*` for any run of characters, folded.
    Like(IocType, String),
}

impl IndicatorTest {
    /// Reads a value; `place` is where it stands, for the error.
    pub(crate) fn parse(kind: Option<&str>, value: &str, place: &str) -> Result<Self, RuleError> {
        let refuse = |source| RuleError::Indicator { field: place.to_owned(), source };
        let value = value.trim();
        let given = || serde_json::Value::String(value.to_owned());
        let Some(name) = kind else {
            // `*.example.com` can only be meant as a domain; everything else must say what it is.
            if let Some(parent) = value.strip_prefix("*.").filter(|parent| !parent.contains('*')) {
                return Self::below(parent).map_err(refuse);
            }
            let indicator = Indicator::identify(value).ok_or_else(|| {
                RuleError::field(
                    place,
                    &given(),
                    "a value that is an indicator by itself, or one with `type` beside it",
                )
            })?;
            return Ok(Self::of(indicator));
        };
        if !value.contains('*') {
            return Indicator::from_parts(name, value).map(Self::of).map_err(refuse);
        }
        let is_digest = ["hash", "file_hash"].contains(&name.trim().to_ascii_lowercase().as_str());
        if is_digest {
            return Err(RuleError::field(
                place,
                &given(),
                "md5, sha1, sha256 or sha512 as type of a value with `*`",
            ));
        }
        let kind: IocType = name.parse().map_err(refuse)?;
        if value.chars().all(|letter| letter == '*') {
            return Ok(Self::Any(kind));
        }
        match value.strip_prefix("*.") {
            Some(parent) if kind == IocType::Domain && !parent.contains('*') => {
                Self::below(parent).map_err(refuse)
            }
            _ if value.len() > 2000 => Err(RuleError::field(place, &given(), "at most 2000 bytes")),
            _ => Ok(Self::Like(kind, fold(value).into_owned())),
        }
    }

    fn below(parent: &str) -> Result<Self, security_indicators::IndicatorError> {
        Ok(Self::Below(Indicator::parse(IocType::Domain, parent)?.value().to_owned()))
    }

    fn of(indicator: Indicator) -> Self {
        match indicator.value().parse::<IpNet>() {
            Ok(network) if indicator.kind() == IocType::Cidr => Self::Inside(network.trunc()),
            _ => Self::Is(indicator),
        }
    }

    /// The kind of indicator a text must be read as to be seen by this test.
    pub(crate) fn kind(&self) -> IocType {
        match self {
            Self::Is(indicator) => indicator.kind(),
            Self::Inside(_) => IocType::Ip,
            Self::Below(_) => IocType::Domain,
            Self::Any(kind) | Self::Like(kind, _) => *kind,
        }
    }

    /// The value as an alert shows it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Is(indicator) => indicator.value().to_owned(),
            Self::Inside(network) => network.to_string(),
            Self::Below(domain) => format!("*.{domain}"),
            Self::Any(kind) => format!("any {kind}"),
            Self::Like(_, text) => text.clone(),
        }
    }
}

/// All indicator tests of a rule set, by what they can be found with.
#[derive(Debug, Default)]
pub(crate) struct IndicatorIndex {
    exact: HashMap<Indicator, Vec<u32>>,
    /// Domains apart, to be looked up by each of a host's parents.
    domains: HashMap<String, Vec<u32>>,
    networks: HashMap<IpNet, Vec<u32>>,
    /// Prefix lengths that occur among the networks, v4 and v6 apart.
    lengths: [BTreeSet<u8>; 2],
    below: HashMap<String, Vec<u32>>,
    by_kind: HashMap<IocType, Vec<u32>>,
    like: HashMap<IocType, Vec<(String, u32)>>,
}

impl IndicatorIndex {
    /// Adds a test under a number.
    pub(crate) fn insert(&mut self, test: &IndicatorTest, number: u32) {
        match test {
            IndicatorTest::Is(domain) if domain.kind() == IocType::Domain => {
                self.domains.entry(domain.value().to_owned()).or_default().push(number);
            }
            IndicatorTest::Is(indicator) => self.exact.entry(indicator.clone()).or_default().push(number),
            IndicatorTest::Inside(network) => {
                self.lengths[usize::from(network.addr().is_ipv6())].insert(network.prefix_len());
                self.networks.entry(*network).or_default().push(number);
            }
            IndicatorTest::Below(domain) => self.below.entry(domain.clone()).or_default().push(number),
            IndicatorTest::Any(kind) => self.by_kind.entry(*kind).or_default().push(number),
            IndicatorTest::Like(kind, text) => {
                self.like.entry(*kind).or_default().push((text.clone(), number));
            }
        }
    }

    /// Calls `hit` with the number of each test that the indicator meets.
    pub(crate) fn each_match(&self, found: &Indicator, hit: &mut dyn FnMut(u32)) {
        let mut all = |numbers: Option<&Vec<u32>>| numbers.into_iter().flatten().for_each(|n| hit(*n));
        all(self.exact.get(found));
        all(self.by_kind.get(&found.kind()));
        match found.kind() {
            IocType::Ip => {
                if let Ok(address) = found.value().parse::<std::net::IpAddr>() {
                    self.each_network(IpNet::from(address), &mut all);
                }
            }
            IocType::Cidr => {
                if let Ok(network) = found.value().parse::<IpNet>() {
                    self.each_network(network, &mut all);
                }
            }
            IocType::Domain => {
                let mut rest = found.value();
                all(self.domains.get(rest));
                while let Some((_, parent)) = rest.split_once('.') {
                    all(self.below.get(parent));
                    all(self.domains.get(parent));
                    rest = parent;
                }
            }
            _ => {}
        }
        if let Some(patterns) = self.like.get(&found.kind()) {
            let value = fold(found.value());
            patterns.iter().filter(|(pattern, _)| is_like(&value, pattern)).for_each(|(_, n)| hit(*n));
        }
    }

    fn each_network(&self, found: IpNet, all: &mut impl FnMut(Option<&Vec<u32>>)) {
        for length in self.lengths[usize::from(found.addr().is_ipv6())].range(..=found.prefix_len()) {
            if let Ok(network) = IpNet::new(found.addr(), *length) {
                all(self.networks.get(&network.trunc()));
            }
        }
    }
}

/// Whether the text is the pattern, with `*` for any run of characters.
///
/// Each literal part is taken at its first place, which is right for all but the last, and linear.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The indicator that another one holds: the host of a URL or an e-mail address, the address of a pair.
pub(crate) fn inner_indicator(outer: &Indicator) -> Option<Indicator> {
    if matches!(outer.kind(), IocType::Ip | IocType::Domain) {
        return None;
    }
    let host = outer.host()?;
    let kind = if host.parse::<std::net::IpAddr>().is_ok() { IocType::Ip } else { IocType::Domain };
    Indicator::parse(kind, host).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_run() {
        for (text, pattern) in
            [("abc", "a*c"), ("ac", "a*c"), ("abcabc", "*bc"), ("abc", "abc*"), ("aXbXc", "a*b*c")]
        {
            assert!(is_like(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [("abcd", "a*c"), ("ab", "ab*b"), ("a", "a*a"), ("xabc", "abc*")] {
            assert!(!is_like(text, pattern), "{text} {pattern}");
        }
    }

    #[test]
    fn takes_the_host_out_of_what_holds_it() {
        for (kind, text, host) in [
            (IocType::Url, "https://user@evil.example:8443/a?b", "evil.example"),
            (IocType::Url, "http://192.0.2.7/x", "192.0.2.7"),
            (IocType::Url, "http://[2001:db8::1]:80/", "2001:db8::1"),
            (IocType::Email, "who@mail.example.com", "mail.example.com"),
            (IocType::IpPort, "192.0.2.7:443", "192.0.2.7"),
        ] {
            let outer = Indicator::parse(kind, text).unwrap();
            assert_eq!(inner_indicator(&outer).map(|inner| inner.value().to_owned()).as_deref(), Some(host));
        }
    }
}
