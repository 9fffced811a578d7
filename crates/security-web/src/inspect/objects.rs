//! Exact checks for serialised objects and for scripts of databases.

use super::{
    checks::begins,
    cursor::{Cursor, is_word},
};

/// Packages whose classes gadgets are made of.
const PACKAGES: [&[u8]; 13] = [
    b"com.sun.",
    b"org.apache.",
    b"java.",
    b"javax.",
    b"org.springframework",
    b"com.zaxxer",
    b"ch.qos",
    b"com.mchange",
    b"com.alibaba",
    b"jdk.nashorn",
    b"org.hibernate",
    b"org.codehaus",
    b"com.caucho",
];

/// What leads from Java's runtime to a process; its memory and processors are numbers.
pub(super) fn is_runtime(text: &[u8], _start: usize, end: usize) -> bool {
    const FIGURES: [&[u8]; 5] =
        [b").availableprocessors", b").totalmemory", b").freememory", b").maxmemory", b").gc("];
    let rest = Cursor::new(text, end).rest();
    !FIGURES.iter().any(|figure| rest.starts_with(figure))
}

/// PHP's serialised objects: `o:4:"user"`, `c:8:{`. Lists of plain values make no object.
pub(super) fn is_php(text: &[u8], start: usize, end: usize) -> bool {
    if !begins(text, start, end) {
        return false;
    }
    let mut cursor = Cursor::new(text, end);
    cursor.skip(|byte| byte == b'+');
    let digits = cursor.skip(|byte| byte.is_ascii_digit());
    if digits == 0 {
        return false;
    }
    cursor.eat(b":\"") || text[start] == b'c' && cursor.eat(b":{")
}

/// A class name as the value of `@type` or `$type`.
pub(super) fn is_type(text: &[u8], start: usize, end: usize) -> bool {
    let mut cursor = Cursor::new(text, end);
    cursor.skip(|byte| matches!(byte, b' ' | b':' | b'"' | b'\''));
    let rest = cursor.rest();
    let length =
        rest.iter().position(|byte| !is_word(*byte) && !b".$[/;`".contains(byte)).unwrap_or(rest.len());
    let name = &rest[..length];
    let dots = memchr::memchr_iter(b'.', name).count();
    match text[start] {
        // `System.Windows.Data.X, PresentationFramework`
        b'$' | b'_' => name.starts_with(b"system.") || dots > 0 && rest[length..].starts_with(b", "),
        _ => {
            (dots > 1 && !name.contains(&b'/'))
                || name.starts_with(b"l") && name.ends_with(b";")
                || PACKAGES.iter().any(|package| name.starts_with(package))
        }
    }
}

/// A class named where polymorphic readers look for one: `["com.sun.…",`, `!!javax.…`, `class="java.…"`.
pub(super) fn is_class(text: &[u8], _start: usize, end: usize) -> bool {
    let rest = Cursor::new(text, end).rest();
    if text[..end].ends_with(b"<jdk.") {
        return rest.starts_with(b"nashorn");
    }
    PACKAGES.iter().any(|package| rest.starts_with(package))
        || text[..end].ends_with(b"!!") && rest.starts_with(b"org.")
}

/// `db.users.find(`: a call on a collection.
pub(super) fn is_collection_call(text: &[u8], start: usize, end: usize) -> bool {
    const CALLS: [&[u8]; 10] = [
        b".find(",
        b".findone(",
        b".insert(",
        b".remove(",
        b".drop(",
        b".update(",
        b".aggregate(",
        b".save(",
        b".mapreduce(",
        b".eval(",
    ];
    let mut cursor = Cursor::new(text, end);
    begins(text, start, end) && !cursor.word().is_empty() && CALLS.iter().any(|call| cursor.eat(call))
}

/// `do{…}while(…)`: a loop that waits.
pub(super) fn is_loop(text: &[u8], start: usize, end: usize) -> bool {
    begins(text, start, end) && super::cursor::has(Cursor::new(text, end).rest(), b"while(")
}
