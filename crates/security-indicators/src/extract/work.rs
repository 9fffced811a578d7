//! The work of a pass, counted in tests alone: bytes that its loops look at.
//!
//! Every loop of this folder whose length depends on the text says here how far it went; what looks at a bounded number
//! of bytes is counted as one step.

#[cfg(test)]
thread_local! {
    static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Notes that so many bytes were looked at.
#[inline(always)]
pub(super) fn add(bytes: usize) {
    #[cfg(test)]
    LOOKED_AT.with(|count| count.set(count.get() + bytes));
    #[cfg(not(test))]
    let _ = bytes;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ExtractOptions, IocType, extract};

    fn work_of(text: &str, options: &ExtractOptions) -> usize {
        LOOKED_AT.with(|count| count.set(0));
        std::hint::black_box(extract(text, options));
        LOOKED_AT.with(std::cell::Cell::get)
    }

    /// Texts that make a careless search look back or ahead again and again.
    const HOSTILE: &[(&str, &str)] = &[
        ("dots", "."),
        ("dotted letters", "a."),
        ("dotted numbers", "1."),
        ("addresses without end", "1.2.3.4."),
        ("hex", "0a1b2c3d4e5f6071"),
        ("base64", "QUJDRGVmZ2hpamtsbW5vcA+/"),
        ("slashes", "/"),
        ("folders", "/usr/a"),
        ("at-signs", "@"),
        ("addresses of mail", "a@b."),
        ("long local parts", "a.b@"),
        ("opening brackets", "["),
        ("disarmed dots", "a[.]"),
        ("brackets", "[.]({"),
        ("colons", ":"),
        ("colons and hex", "ab:cd::"),
        ("fuzzy hashes", "3:abcdef:"),
        ("digits", "7"),
        ("schemes", "hxxp"),
        ("URLs without hosts", "hxxp://"),
        ("URLs in URLs", "http://a/"),
        ("users", "http://a%@"),
        ("parentheses in URLs", "http://a.com/("),
        ("percent", "%2e"),
        ("percent-encoded URLs", "http%3A%2F%2F"),
        ("emoji", "\u{1f992}"),
        ("letters of others", "ü."),
        ("invisible signs", "a\u{200b}"),
        ("hyphens", "a-_-"),
        ("backslashes", "\\"),
        ("Windows paths", "C:\\a"),
        ("quoted paths", "\"C:\\a b"),
        ("registry keys", "HKLM\\a "),
        ("references", "&amp;&#46;"),
        ("numbers of flaws", "CVE-2024-"),
        ("wrapped URLs", "http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com/\n"),
        ("margins", "7777777777777777777777777777777777777777777777777777777777777777/\n"),
        ("wallets", "1aB2cD3eF4gH5jK6mN7pQ8rS9tU"),
        ("blanks", "a [ . ] "),
        ("mail of others", "ü@ü."),
        ("names of others", "ß.de "),
        ("fullwidth names", "ａ．"),
        ("Chinese and names", "访问a.com。"),
        ("Thai", "ที่"),
        ("marks", "e\u{301}."),
        ("emoji and dots", "\u{1f992}."),
        ("sentences without blanks", "a[.]com.The "),
        ("versions", "1.2.3.4, "),
        ("footnotes", "http://a.com/b[1]"),
        ("punycode", "xn--a."),
    ];

    #[test]
    fn work_grows_with_the_text_and_nothing_else() {
        const SMALL: usize = 64 << 10;
        const TIMES: usize = 16;
        let with_files = ExtractOptions { file_names: true, ..ExtractOptions::default() };
        let urls =
            ExtractOptions { types: Some([IocType::Domain].into_iter().collect()), ..with_files.clone() };
        let mut wrong = Vec::new();
        for options in [ExtractOptions::default(), with_files, urls] {
            for (name, piece) in HOSTILE {
                let of = |size: usize| work_of(&piece.repeat(size / piece.len()), &options);
                let (small, large) = (of(SMALL), of(TIMES * SMALL));
                if large > small * 20 || large > 64 * TIMES * SMALL {
                    wrong.push(format!("{name}: {small} bytes looked at, then {large}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
