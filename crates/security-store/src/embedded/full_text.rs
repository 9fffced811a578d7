//! What people type, as a query that SQLite's full-text index understands and that means only words.

/// A word of the query.
const MAX_WORDS: usize = 32;

/// Turns text into a query for all of its words as prefixes: `evil.example pay` becomes
/// `"evil.example"* "pay"*`. A quoted word is a phrase of what the index makes of it (`evil`, then `example…`), so
/// that no character of the text is syntax. `None` when there is no word in it.
///
/// Source: SQLite FTS5, §3 "Full-text Query Syntax".
pub(super) fn query(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words = words.filter(|word| word.chars().any(char::is_alphanumeric)).take(MAX_WORDS);
    let quoted: Vec<String> = words.map(|word| format!("\"{}\"*", word.replace('"', "\"\""))).collect();
    (!quoted.is_empty()).then(|| quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_become_quoted_prefixes() {
        assert_eq!(query("evil.example  pay").unwrap(), "\"evil.example\"* \"pay\"*");
        assert_eq!(query("a\" OR \"b").unwrap(), "\"a\"\"\"* \"OR\"* \"\"\"b\"*");
        assert_eq!(query("value:x NOT y*").unwrap(), "\"value:x\"* \"NOT\"* \"y*\"*");
        assert_eq!(query(" \u{0} -- ' "), None);
    }

    proptest! {
        #[test]
        fn no_text_is_a_syntax_error(text in "\\PC{0,60}|[\"'()*:^+\\-{}a-c ORANDT\u{0}]{0,40}") {
            let memory = rusqlite::Connection::open_in_memory().unwrap();
            memory.execute_batch("CREATE VIRTUAL TABLE t USING fts5 (text)").unwrap();
            memory.execute("INSERT INTO t VALUES (?1)", [&text]).unwrap();
            if let Some(query) = query(&text) {
                let mut statement = memory.prepare("SELECT count(*) FROM t WHERE t MATCH ?1").unwrap();
                let found: i64 = statement.query_row([query], |row| row.get(0)).unwrap();
                prop_assert!(found <= 1);
            }
        }
    }
}
