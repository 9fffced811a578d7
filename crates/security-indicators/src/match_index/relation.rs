//! Whether a hit is one: the index file keeps hashes, and only the record says what is listed.

use ipnet::IpNet;

use super::{Hit, MatchType, host_address};
use crate::{Indicator, IocType, url};

impl Hit {
    /// Whether the indicator listed under this hit's row meets the checked one in the way that the hit says.
    pub fn is_true(&self, checked: &Indicator, listed: &Indicator) -> bool {
        match self.match_type {
            MatchType::Exact => checked == listed,
            MatchType::Cidr => checked.network().is_some_and(|inner| is_within(inner, listed)),
            MatchType::Subdomain => listed.kind() == IocType::Domain && is_below(checked.value(), listed),
            MatchType::UrlPrefix => listed.kind() == IocType::Url && begins(checked, listed.value()),
            MatchType::Host => checked.host().is_some_and(|host| match host_address(host) {
                Some(address) => is_within(address.into(), listed),
                None => {
                    listed.kind() == IocType::Domain && (host == listed.value() || is_below(host, listed))
                }
            }),
        }
    }
}

fn is_within(inner: IpNet, listed: &Indicator) -> bool {
    listed.network().is_some_and(|outer| outer.contains(&inner))
}

fn is_below(host: &str, listed: &Indicator) -> bool {
    host.strip_suffix(listed.value()).is_some_and(|rest| rest.ends_with('.'))
}

fn begins(checked: &Indicator, listed: &str) -> bool {
    let without_user = url::without_user(checked.value());
    let bare = without_user.as_deref().unwrap_or(checked.value());
    // Nothing lies below a listed query.
    let below = |rest: &str| !listed.contains('?') && (rest.starts_with(['/', '?']) || listed.ends_with('/'));
    bare.strip_prefix(listed).is_some_and(|rest| rest.is_empty() || below(rest))
}
