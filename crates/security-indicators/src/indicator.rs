//! An indicator: a kind and its one canonical value.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use ipnet::IpNet;
use security_core::Limits;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeStruct};

use crate::{
    IndicatorError, IocType, asn, cve, domain, email, file, hash, identify, ip, mac, refang, registry_key,
    technique, url, wallet,
};

/// A value that is right for its kind, in canonical form. What is stored, compared and exported.
///
/// Its text is `type:value`, as in `domain:evil.example.com`; [`FromStr`] reads it back. Serialised it is an object
/// of `type` and `value`, and reading one parses the value again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Indicator {
    kind: IocType,
    value: Box<str>,
}

impl Indicator {
    /// Parses a value of a known kind, refanging it first (not for file names, paths and registry keys, whose
    /// brackets and backslashes are their own). `Ip` with a prefix length gives a `Cidr`.
    ///
    /// # Errors
    /// [`IndicatorError::Invalid`] with the reason when the text is none of that kind.
    pub fn parse(kind: IocType, text: &str) -> Result<Self, IndicatorError> {
        let trimmed = text.trim();
        let invalid = |reason| IndicatorError::invalid(kind, text, reason);
        if trimmed.is_empty() {
            return Err(invalid("it is empty"));
        }
        if trimmed.len() > Limits::DEFAULT.max_value {
            return Err(invalid("it is longer than 8 KiB"));
        }
        if let Some(value) = at_a_look(kind, trimmed) {
            return Ok(Self { kind, value: value.into() });
        }
        let verbatim =
            matches!(kind, IocType::FileName | IocType::FilePath | IocType::RegistryKey | IocType::Ssdeep);
        let armed = if verbatim { Cow::Borrowed(trimmed) } else { refang(trimmed) };
        let kind = if kind == IocType::Ip && armed.contains('/') { IocType::Cidr } else { kind };
        let value = canonical(kind, armed.trim()).map_err(invalid)?;
        let value = if kind == IocType::Url { settled(value).map_err(invalid)? } else { value };
        Ok(Self { kind, value: value.into() })
    }

    /// Parses a value under a kind's name or alias in any case; `hash`, `file_hash`, `filehash` and `digest` choose
    /// the digest by its length.
    ///
    /// # Errors
    /// [`IndicatorError::UnknownType`] for a name that names no kind, else as [`Indicator::parse`].
    pub fn from_parts(type_name: &str, text: &str) -> Result<Self, IndicatorError> {
        let name = type_name.trim();
        if ["hash", "file_hash", "filehash", "digest"].iter().any(|any| name.eq_ignore_ascii_case(any)) {
            // Without a length that fits, the commonest digest gives the message.
            return Self::parse(hash::kind_of(text.trim()).unwrap_or(IocType::Sha256), text);
        }
        Self::parse(name.parse()?, text)
    }

    /// The indicator a whole text is, after trimming and refanging; `None` for plain words and for what is rather a
    /// file name (`setup.py`, `invoice.zip`). See [`identify`] for the order of the kinds.
    pub fn identify(text: &str) -> Option<Self> {
        identify::whole(text)
    }

    /// The kind.
    pub fn kind(&self) -> IocType {
        self.kind
    }

    /// The canonical value.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The address of an address, of an address with a port, or of a URL that leads to one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.kind {
            IocType::Ip | IocType::IpPort | IocType::Url => ip::parse_address(self.host()?).ok(),
            _ => None,
        }
    }

    /// The network of a network or of a lone address (`/32`, `/128`).
    pub fn network(&self) -> Option<IpNet> {
        match self.kind {
            IocType::Ip | IocType::Cidr => ip::parse_network(&self.value).ok(),
            _ => None,
        }
    }

    /// The host in it: a canonical domain or an address without brackets. Of domains, addresses, addresses with a
    /// port, URLs and e-mail addresses.
    pub fn host(&self) -> Option<&str> {
        host_of(self.kind, &self.value)
    }

    /// For the parsers of this crate, when they already hold the canonical value.
    pub(crate) fn of_canonical(kind: IocType, value: impl Into<Box<str>>) -> Self {
        Self { kind, value: value.into() }
    }
}

/// A canonical value that is only to be looked up: borrowed where its text was canonical already, as nearly all values
/// in logs and lists are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked<'t> {
    kind: IocType,
    value: Cow<'t, str>,
}

impl<'t> Checked<'t> {
    /// [`Indicator::parse`] for a value that need not be kept.
    ///
    /// # Errors
    /// As [`Indicator::parse`].
    pub fn parse(kind: IocType, text: &'t str) -> Result<Self, IndicatorError> {
        let trimmed = text.trim();
        let plain = (trimmed.len() <= Limits::DEFAULT.max_value).then(|| at_a_look(kind, trimmed)).flatten();
        match plain {
            Some(value) => Ok(Self { kind, value }),
            None => Indicator::parse(kind, text).map(Self::from),
        }
    }

    /// The kind.
    pub fn kind(&self) -> IocType {
        self.kind
    }

    /// The canonical value.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// As a value of its own.
    pub fn to_indicator(&self) -> Indicator {
        Indicator::of_canonical(self.kind, &*self.value)
    }
}

impl From<Indicator> for Checked<'_> {
    fn from(indicator: Indicator) -> Self {
        Self { kind: indicator.kind, value: Cow::Owned(indicator.value.into()) }
    }
}

/// The canonical value of a trimmed text of a kind where one look at each byte tells it: there is nothing to refang in it.
/// `None` says nothing. A property test holds it against [`refang`] and [`canonical`].
fn at_a_look(kind: IocType, text: &str) -> Option<Cow<'_, str>> {
    let is_canonical = match kind {
        IocType::Url => return url::at_a_look(text),
        IocType::Domain => domain::is_canonical_host(text) && text.contains('.'),
        IocType::Ip => text.parse::<Ipv4Addr>().is_ok(),
        IocType::IpPort => text.split_once(':').is_some_and(|(address, port)| {
            address.parse::<Ipv4Addr>().is_ok() && ip::parse_port(port).is_ok()
        }),
        other => hash::is_canonical(other, text),
    };
    is_canonical.then_some(Cow::Borrowed(text))
}

/// The host in a canonical value, as [`Indicator::host`] tells it.
pub(crate) fn host_of(kind: IocType, value: &str) -> Option<&str> {
    match kind {
        IocType::Domain | IocType::Ip => Some(value),
        IocType::Url => url::host_of(value),
        IocType::Email => value.rsplit_once('@').map(|(_, host)| host),
        IocType::IpPort => {
            let (host, _) = value.rsplit_once(':')?;
            Some(host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host))
        }
        _ => None,
    }
}

/// An address is its own canonical form; IPv4-mapped ones are IPv4.
impl From<IpAddr> for Indicator {
    fn from(address: IpAddr) -> Self {
        Self::of_canonical(IocType::Ip, crate::ip::fold(address).to_string())
    }
}

/// A canonical URL that is the same when it is read once more: a blank that got encoded may leave signs behind that disarm
/// (`a [.b` is `a%20[.b` then).
fn settled(mut url: String) -> Result<String, &'static str> {
    for _ in 0..4 {
        match refang(&url) {
            Cow::Owned(armed) if armed != url => url = url::canonical(armed.trim())?,
            _ => return Ok(url),
        }
    }
    Err("what disarms it goes on and on")
}

/// The canonical form of a refanged text of a kind, or what is wrong with it.
pub(crate) fn canonical(kind: IocType, text: &str) -> Result<String, &'static str> {
    match kind {
        IocType::Ip => ip::canonical(text),
        IocType::Cidr => ip::canonical_network(text),
        IocType::IpPort => ip::canonical_with_port(text),
        IocType::Domain => domain::canonical(text),
        IocType::Url => url::canonical(text),
        IocType::Email => email::canonical(text),
        IocType::Md5
        | IocType::Sha1
        | IocType::Sha224
        | IocType::Sha256
        | IocType::Sha384
        | IocType::Sha512
        | IocType::Imphash
        | IocType::Ja3 => hash::canonical(kind, text),
        IocType::Ssdeep => hash::canonical_ssdeep(text),
        IocType::Tlsh => hash::canonical_tlsh(text),
        IocType::Ja4 => hash::canonical_ja4(text),
        IocType::Cve => cve::canonical(text),
        IocType::Asn => asn::canonical(text),
        IocType::Mac => mac::canonical(text),
        IocType::RegistryKey => registry_key::canonical(text),
        IocType::FileName => file::canonical_name(text),
        IocType::FilePath => file::canonical_path(text),
        IocType::Btc => wallet::canonical_btc(text),
        IocType::Eth => wallet::canonical_eth(text),
        IocType::Xmr => wallet::canonical_xmr(text),
        IocType::AttackTechnique => technique::canonical(text),
        IocType::Sol => wallet::canonical_sol(text),
    }
}

impl fmt::Display for Indicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

impl FromStr for Indicator {
    type Err = IndicatorError;

    /// Reads `type:value`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `ip:port:192.0.2.1:443`: one kind's name has a colon in it and starts with another's.
        let name_end = if text.starts_with("ip:port:") { 7 } else { text.find(':').unwrap_or(text.len()) };
        let kind: IocType = text[..name_end].parse()?;
        Self::parse(kind, text.get(name_end + 1..).unwrap_or_default())
    }
}

impl Serialize for Indicator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Indicator", 2)?;
        object.serialize_field("type", &self.kind)?;
        object.serialize_field("value", &self.value)?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Indicator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Parts<'a> {
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
            #[serde(borrow)]
            value: Cow<'a, str>,
        }
        let parts = Parts::deserialize(deserializer)?;
        Self::from_parts(&parts.kind, &parts.value).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Most of them are canonical, and most of the others nearly so.
    fn nearly_canonical() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9_-]{1,4}(\\.[a-z0-9_-]{1,4}){0,3}",
            "[a-zA-Z0-9_.:*-]{1,12}",
            "(xn--)?[a-z]{1,3}\\.(xn--)?[0-9a-z-]{1,3}",
            "[0-9]{1,3}(\\.[0-9]{1,3}){2,4}(:[0-9]{1,6})?",
            "[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-fA-F]{64}|[0-9a-f]{63}",
            "[a-z]{60,66}\\.[a-z]{2}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_is_canonical_at_a_look_is(text in nearly_canonical()) {
            for &kind in IocType::ALL {
                if let Some(value) = at_a_look(kind, &text) {
                    prop_assert!(refang(&text) == text, "refanged");
                    prop_assert_eq!(canonical(kind, &text), Ok(value.into_owned()), "{}", kind);
                }
                let (checked, parsed) = (Checked::parse(kind, &text), Indicator::parse(kind, &text));
                prop_assert_eq!(checked.map(|checked| checked.to_indicator()), parsed);
            }
        }
    }

    #[test]
    fn plain_values_are_known_by_a_look() {
        for (kind, text) in [
            (IocType::Domain, "evil.example.com"),
            (IocType::Ip, "192.0.2.1"),
            (IocType::IpPort, "192.0.2.1:443"),
            (IocType::Md5, "0123456789abcdef0123456789abcdef"),
            (IocType::Url, "http://evil.example.com/a"),
        ] {
            assert_eq!(at_a_look(kind, text), Some(Cow::Borrowed(text)), "{text}");
        }
    }

    #[test]
    fn a_url_is_the_same_when_it_is_read_again() {
        for text in [
            "hxxp://evil [.] ezample [.zample [.zmeone@example.com",
            "http://a [.b@evil.example/",
            "http://a (dot b@evil.example/ [.x",
            "hxxp://a[.]b [dot] c@evil[.]example/x [.y",
            "http://evil.example/[.]a[.[.b",
        ] {
            if let Ok(once) = Indicator::parse(IocType::Url, text) {
                assert_eq!(Indicator::parse(IocType::Url, once.value()).unwrap(), once, "{text}");
            }
        }
    }

    #[test]
    fn parsing_refangs_and_folds() {
        for (kind, text, expected) in [
            ("ip", " 192[.]0[.]2[.]1 ", "ip:192.0.2.1"),
            ("IPv4", "192.0.2.0/24", "cidr:192.0.2.0/24"),
            ("hostname", "evil[dot]example(dot)com", "domain:evil.example.com"),
            ("URL", "hxxps[:]//evil[.]example[.]com/a[1].php", "url:https://evil.example.com/a[1].php"),
            ("email", "a[at]evil[.]example[.]com", "email:a@evil.example.com"),
            ("file_hash", "0123456789ABCDEF0123456789ABCDEF", "md5:0123456789abcdef0123456789abcdef"),
            ("file_path", r"C:\Users\x\.ssh\id", r"file_path:c:\users\x\.ssh\id"),
            ("ip-dst|port", "192.0.2.1|443", "ip:port:192.0.2.1:443"),
        ] {
            let indicator = Indicator::from_parts(kind, text).unwrap();
            assert_eq!(indicator.to_string(), expected);
            assert_eq!(expected.parse::<Indicator>().unwrap(), indicator);
        }
    }

    #[test]
    fn a_disarmed_dot_in_a_scheme_makes_no_other_scheme() {
        // Found by the fuzz target: `h.ttp://` was canonical, and read again it was `h.http://`.
        assert!(Indicator::parse(IocType::Url, "h%2ettp://evil.example.com/").is_err());
    }

    #[test]
    fn invisible_characters_hide_no_scheme() {
        // Found by the fuzz target: `hxxp://` was left, and read again it was `http://`.
        for text in ["hxxp\u{200b}://evil.example", "hx\u{ad}xp:\u{200b}//evil[\u{200b}.]example"] {
            assert_eq!(Indicator::parse(IocType::Url, text).unwrap().value(), "http://evil.example/");
        }
    }

    #[test]
    fn every_example_is_canonical_and_survives_json() {
        for &kind in IocType::ALL {
            let indicator = Indicator::parse(kind, kind.example()).unwrap();
            assert_eq!(indicator.value(), kind.example());
            let json = serde_json::to_string(&indicator).unwrap();
            assert_eq!(serde_json::from_str::<Indicator>(&json).unwrap(), indicator);
        }
    }

    #[test]
    fn errors_say_what_and_how() {
        use security_core::Coded;
        let error = Indicator::from_parts("ip", "010.0.0.1").unwrap_err();
        assert_eq!(error.code(), "indicator-invalid");
        assert_eq!(
            error.to_string(),
            "`010.0.0.1` is not a valid ip: a part of an IPv4 address has no leading zero"
        );
        let error = Indicator::from_parts("colour", "red").unwrap_err();
        assert_eq!(error.code(), "indicator-unknown-type");
        assert!(error.hint().unwrap().contains("sha256"));
        assert!(Indicator::from_parts("url", &"a".repeat(9000)).is_err());
        assert!(Indicator::from_parts("hash", "abc").is_err());
    }

    #[test]
    fn hosts_and_addresses_are_told() {
        let of = |text: &str| text.parse::<Indicator>().unwrap();
        assert_eq!(of("ip:port:[2001:db8::1]:443").host(), Some("2001:db8::1"));
        assert_eq!(of("url:http://192.0.2.1:8080/x").address(), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(of("email:a@evil.example.com").host(), Some("evil.example.com"));
        assert_eq!(of("ip:192.0.2.1").network(), Some("192.0.2.1/32".parse().unwrap()));
        assert_eq!(of("cve:CVE-2024-0001").host(), None);
    }
}
