//! The kinds of indicator and their names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::IndicatorError;

macro_rules! ioc_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $(| $alias:literal)*;)*) => {
        /// The kind of an indicator of compromise.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum IocType { $($(#[$doc])* $variant,)* }

        impl IocType {
            /// Every kind, in the order of its declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The kind's one name, as it is stored and printed.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn by_name(name: &str) -> Option<Self> {
                match name { $($name $(| $alias)* => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

ioc_types! {
    /// An IPv4 or IPv6 address.
    Ip = "ip" | "ipv4" | "ipv6" | "ip_address" | "ip-src" | "ip-dst" | "ipv4-addr" | "ipv6-addr";
    /// A network in prefix notation.
    Cidr = "cidr" | "network" | "subnet" | "ip_range";
    /// An address with a port, `192.0.2.1:443` or `[2001:db8::1]:443`.
    IpPort = "ip:port" | "ipport" | "ip_port" | "ip-dst|port" | "ip-src|port";
    /// A host name.
    ///
    /// Names below `.onion` are domains too; `onion` is an alias and no kind of its own, so that one value has one kind.
    Domain = "domain" | "hostname" | "fqdn" | "host" | "domain-name" | "domain_name" | "onion" | "onion_address" | "onion-address";
    /// An absolute URL.
    Url = "url" | "uri" | "link";
    /// An e-mail address.
    Email = "email" | "email_address" | "e-mail" | "email-addr" | "email-src" | "email-dst";
    /// An MD5 digest in hex.
    Md5 = "md5";
    /// A SHA-1 digest in hex.
    Sha1 = "sha1" | "sha-1";
    /// A SHA-256 digest in hex.
    Sha256 = "sha256" | "sha-256";
    /// A SHA-512 digest in hex.
    Sha512 = "sha512" | "sha-512";
    /// A CVE number.
    Cve = "cve" | "vulnerability";
    /// An autonomous system number, `AS64496`.
    Asn = "asn" | "as" | "autonomous-system";
    /// A hardware address.
    Mac = "mac" | "mac-address" | "mac_address" | "mac-addr";
    /// A Windows registry key.
    RegistryKey = "registry_key" | "registry" | "regkey" | "windows-registry-key";
    /// A file name without folders.
    FileName = "file_name" | "filename";
    /// A Windows or POSIX path.
    FilePath = "file_path" | "filepath" | "path";
    /// A Bitcoin address.
    Btc = "btc" | "bitcoin" | "bitcoin_address";
    /// An Ethereum address, `0x` and 40 hex digits.
    Eth = "eth" | "ethereum" | "ethereum_address";
    /// A Monero address on the main network.
    Xmr = "xmr" | "monero" | "monero_address";
    /// A SHA-224 digest in hex.
    Sha224 = "sha224" | "sha-224";
    /// A SHA-384 digest in hex.
    Sha384 = "sha384" | "sha-384";
    /// A fuzzy hash of ssdeep, `blocksize:hash:hash`.
    Ssdeep = "ssdeep";
    /// A fuzzy hash of TLSH, `T1` and 70 hex digits.
    Tlsh = "tlsh";
    /// The import hash of a PE file: an MD5 over its import table.
    Imphash = "imphash";
    /// The JA3 or JA3S fingerprint of a TLS hello: an MD5.
    Ja3 = "ja3" | "ja3s" | "ja3-fingerprint-md5";
    /// The JA4 fingerprint of a TLS client hello.
    Ja4 = "ja4";
    /// A technique of MITRE ATT&CK, `T1059` or `T1059.001`.
    AttackTechnique = "attack_technique" | "attack-technique" | "technique" | "mitre_technique" | "attack-pattern" | "ttp";
    /// A Solana address: a public key of 32 bytes in base58.
    Sol = "sol" | "solana" | "solana_address";
}

impl IocType {
    /// A valid value of this kind, for help texts and messages.
    pub fn example(self) -> &'static str {
        match self {
            Self::Ip => "192.0.2.1",
            Self::Cidr => "192.0.2.0/24",
            Self::IpPort => "192.0.2.1:443",
            Self::Domain => "evil.example.com",
            Self::Url => "https://evil.example.com/path",
            Self::Email => "someone@evil.example.com",
            Self::Md5 | Self::Imphash | Self::Ja3 => "0123456789abcdef0123456789abcdef",
            Self::Sha1 => "0123456789abcdef0123456789abcdef01234567",
            Self::Sha224 => "0123456789abcdef0123456789abcdef0123456789abcdef01234567",
            Self::Sha256 => "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            Self::Sha384 => {
                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
            }
            Self::Sha512 => {
                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
            }
            Self::Cve => "CVE-2024-12345",
            Self::Asn => "AS64496",
            Self::Mac => "00:00:5e:00:53:01",
            Self::RegistryKey => r"HKEY_LOCAL_MACHINE\software\example",
            Self::FileName => "invoice.exe",
            Self::FilePath => r"c:\users\public\invoice.exe",
            Self::Btc => "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            Self::Eth => "0x00000000000000000000000000000000deadbeef",
            Self::Xmr => {
                "423hc6hfLue3NmGmWLdSKAA6LSYS1Hx5vGoucKMeUp4GPXUn6AmcqAgWF3wNDGDBtkcxaufGT47zYjWTQRPJEMuJ5Kb3RtV"
            }
            Self::Ssdeep => "96:abcdefghijklmnop:qrstuvwxyzabcdef",
            Self::Tlsh => "T10123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF012345",
            Self::Ja4 => "t13d1516h2_0123456789ab_0123456789ab",
            Self::AttackTechnique => "T1059.001",
            Self::Sol => "SysvarC1ock11111111111111111111111111111111",
        }
    }
}

impl fmt::Display for IocType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for IocType {
    type Err = IndicatorError;

    /// Accepts the name and its aliases in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let in_any_case = || Self::by_name(&text.trim().to_ascii_lowercase());
        Self::by_name(text).or_else(in_any_case).ok_or_else(|| IndicatorError::unknown_type(text))
    }
}

impl Serialize for IocType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for IocType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
