//! A value that must not be seen.

use std::fmt;

use zeroize::Zeroizing;

/// Bytes that are wiped on drop, shown by nothing and compared in constant time.
///
/// There is no `Display`, `Clone` or `Serialize`; [`Secret::expose`] is the one way to the bytes.
pub struct Secret(Bytes);

enum Bytes {
    Own(Zeroizing<Vec<u8>>),
    Kept(Box<dyn KeptBytes>),
}

/// Bytes that somebody else keeps for a secret, where they are safer than on the heap; wiped when they are dropped.
pub trait KeptBytes: Send + Sync {
    /// The bytes, the same ones each time.
    fn bytes(&self) -> &[u8];
}

impl Secret {
    /// Takes the bytes over; the caller's buffer is the secret's from now on.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Bytes::Own(Zeroizing::new(bytes.into())))
    }

    /// A secret whose bytes are kept elsewhere.
    pub fn kept(bytes: Box<dyn KeptBytes>) -> Self {
        Self(Bytes::Kept(bytes))
    }

    /// The bytes. Whoever calls this answers for where they go.
    pub fn expose(&self) -> &[u8] {
        match &self.0 {
            Bytes::Own(bytes) => bytes,
            Bytes::Kept(bytes) => bytes.bytes(),
        }
    }

    /// The bytes as text, if they are UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(self.expose()).ok()
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(****)")
    }
}

/// Constant time for values of one length; the length itself is not hidden.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq::constant_time_eq(self.expose(), other.expose())
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(****)");
        assert_eq!(format!("{:#?}", Some(&secret)), "Some(\n    Secret(****),\n)");
    }

    #[test]
    fn equality_is_by_bytes() {
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), Secret::new("b"));
        assert_ne!(Secret::new("a"), Secret::new("aa"));
    }
}
