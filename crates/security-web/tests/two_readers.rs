//! What is judged of a body is what an application reads of it: each of these is read by some framework as a field
//! with an attack, or by some as one and by others as another.

use std::io::Write;

use flate2::{Compression, write};
use security_web::{BodyPolicy, BodyPrefix, InspectionPolicy, RequestView};

const ATTACK: &str = "<script>alert(1)</script>";
const FORM: &str = "application/x-www-form-urlencoded";
const PARTS: &str = "multipart/form-data; boundary=X";

/// Whether a request with this body goes through.
fn passes(headers: &[(&str, &[u8])], body: &[u8]) -> bool {
    let inspection = InspectionPolicy::default();
    let view = RequestView { path: "/x", headers, ..RequestView::default() };
    let mut prefix =
        BodyPrefix::of(&BodyPolicy::default(), &inspection, &view).expect("bodies are inspected");
    prefix.take(body, true);
    prefix.inspect(&inspection).is_ok_and(|found| !found.is_denied)
}

fn passes_as(content_type: &str, body: impl AsRef<[u8]>) -> bool {
    passes(&[("content-type", content_type.as_bytes())], body.as_ref())
}

fn wide(text: &str, little: bool) -> Vec<u8> {
    let bytes = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
    text.encode_utf16().flat_map(bytes).collect()
}

fn part(head: &str, content: &str) -> String {
    format!("--X\r\n{head}\r\n\r\n{content}\r\n--X--\r\n")
}

#[test]
fn bytes_that_begin_like_wide_characters_are_read_as_they_stand_too() {
    for start in ["a\0", "\0a", "a\0\0\0", "\0\0\0a"] {
        assert!(!passes_as(FORM, format!("{start}=1&comment={ATTACK}")), "{start:?}");
        let parts = part("Content-Disposition: form-data; name=\"comment\"", ATTACK);
        assert!(!passes_as(PARTS, format!("{start}\r\n{parts}")), "{start:?}");
    }
    for mark in [&b"\xff\xfe"[..], b"\xfe\xff", b"\xff\xfe\0\0", b"\0\0\xfe\xff"] {
        assert!(!passes_as(FORM, [mark, b"=1&comment=", ATTACK.as_bytes()].concat()), "{mark:?}");
    }
}

#[test]
fn a_charset_that_most_readers_ignore_hides_nothing() {
    for charset in ["utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32be"] {
        assert!(!passes_as(&format!("{FORM}; charset={charset}"), format!("comment={ATTACK}")), "{charset}");
        let json = format!("{{\"comment\": \"{ATTACK}\"}}");
        assert!(!passes_as(&format!("application/json; charset={charset}"), json), "{charset}");
        let parts = part("Content-Disposition: form-data; name=\"comment\"", ATTACK);
        assert!(!passes_as(&format!("{PARTS}; charset={charset}"), parts), "{charset}");
    }
}

#[test]
fn wide_characters_are_read_in_the_order_that_is_named_and_in_that_which_is_seen() {
    // A letter that in the other order looks like ASCII.
    let text = format!("\u{6100}{ATTACK}");
    assert!(!passes_as("text/plain; charset=utf-16be", wide(&text, false)));
    assert!(!passes_as("text/plain; charset=utf-16le", wide(&text, true)));
    // Without a mark, and without an ASCII letter to tell the order by.
    let text = format!("\u{e9}{ATTACK}");
    for little in [true, false] {
        assert!(!passes_as("text/plain; charset=utf-16", wide(&text, little)), "{little}");
    }
    // Some decode each field of a form of parts by the charset of the whole.
    let head = b"--X\r\nContent-Disposition: form-data; name=\"comment\"\r\n\r\n";
    let parts = [head, &wide(ATTACK, true)[..], b"\r\n--X--\r\n"].concat();
    assert!(!passes_as(&format!("{PARTS}; charset=utf-16le"), parts));
}

#[test]
fn a_content_coding_that_nobody_undoes_hides_nothing() {
    let form = format!("&comment={ATTACK}");
    let mut bare = write::DeflateEncoder::new(Vec::new(), Compression::fast());
    bare.write_all(b"a=1").unwrap();
    let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(b"a=1").unwrap();
    let mut named = flate2::GzBuilder::new().filename(form.as_bytes()).write(Vec::new(), Compression::fast());
    named.write_all(b"a=1").unwrap();
    let mut gzip = write::GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(b"a=1").unwrap();
    for (coding, body) in [
        ("deflate", [bare.finish().unwrap(), form.clone().into()].concat()),
        ("deflate", [zlib.finish().unwrap(), form.clone().into()].concat()),
        ("gzip", named.finish().unwrap()),
        ("gzip", [gzip.finish().unwrap(), form.clone().into()].concat()),
    ] {
        let headers: [(&str, &[u8]); 2] =
            [("content-type", FORM.as_bytes()), ("content-encoding", coding.as_bytes())];
        assert!(!passes(&headers, &body), "{coding} {body:?}");
    }
}

#[test]
fn two_content_types_in_two_lines_are_two() {
    let form = format!("comment={ATTACK}");
    let headers: [(&str, &[u8]); 2] = [("content-type", b"image/png"), ("content-type", FORM.as_bytes())];
    assert!(!passes(&headers, form.as_bytes()));
}

#[test]
fn a_boundary_within_quotes_is_none() {
    let parts = part("Content-Disposition: form-data; name=\"comment\"", ATTACK);
    for content_type in [
        "multipart/form-data; x=\"; boundary=A; y=\"; boundary=X",
        "multipart/form-data; x=\"\\\"; boundary=A; y=\"; boundary=X",
        "multipart/form-data; boundary=X; x=\"; boundary=A\"",
        "multipart/form-data; x=\"; boundary=X; y=\"",
    ] {
        assert!(!passes_as(content_type, &parts), "{content_type}");
    }
    assert!(passes_as(
        "multipart/form-data; boundary=----WebKitFormBoundary7MA",
        "------WebKitFormBoundary7MA--"
    ));
}

#[test]
fn a_field_is_a_file_only_where_its_disposition_says_so() {
    let disposition = "Content-Disposition: form-data; name=\"comment\"";
    for head in [
        disposition.to_owned(),
        format!("X-Note: filename=a\r\n{disposition}"),
        format!("Content-Type: text/plain; filename=a\r\n{disposition}"),
        format!("{disposition}\r\nX-Note: filename=\"a\""),
        format!("{disposition}; x-filename=a"),
        format!("{disposition}; x_filename=a"),
        format!("{disposition}; x=\"; filename=a\""),
        // No name at all: many take that for a field.
        format!("{disposition}; filename=\"\""),
        format!("{disposition}; filename="),
        // Some read each line by itself.
        format!("{disposition};\r\n filename=a"),
        "Content-Disposition: form-data; name=\"\\\"; filename=\"a\"".to_owned(),
    ] {
        assert!(!passes_as(PARTS, part(&head, ATTACK)), "{head}");
    }
    assert!(passes_as(PARTS, part(&format!("{disposition}; filename=\"page.html\""), ATTACK)));
    assert!(passes_as(PARTS, part(&format!("{disposition};FileName=page.html"), ATTACK)));
}

#[test]
fn a_part_begins_and_ends_where_readers_see_it_begin_and_end() {
    let head = "Content-Disposition: form-data; name=\"comment\"";
    for body in [
        // A delimiter begins a line; within one it is text.
        part(head, &format!("a --X {ATTACK}")),
        part(head, &format!("a --X{ATTACK}")),
        part(head, &format!("a\r\n--XY{ATTACK}")),
        // A delimiter may be followed by spaces.
        format!("--X \t\r\n{head}\r\n\r\n{ATTACK}\r\n--X--\r\n"),
        // Some readers take a bare line feed or carriage return for an end of line.
        format!("--X\n{head}\n\n{ATTACK}\r\n\r\nfine\n--X--\n"),
        format!("--X\r\n{head}\n\n{ATTACK}\r\n\r\nfine\r\n--X--\r\n"),
        format!("--X\r{head}\r\r{ATTACK}\r\n\r\nfine\r--X--\r"),
        // Some take what precedes the first delimiter for a part, and some look for the end of a head behind the next.
        format!("{head}\r\n\r\n{ATTACK}\r\n--X--\r\n"),
        format!("--X\r\n{head}\r\n--X\r\n{head}; filename=a\r\n\r\n{ATTACK}\r\n--X--\r\n"),
        format!("--X\r\n{head}\r\n\r\nfine\r--X\r{head}; filename=a\r\r{ATTACK}\r\n--X--\r\n"),
        // Cut off, or without an end.
        format!("--X\r\n{head}\r\n\r\n{ATTACK}"),
    ] {
        assert!(!passes_as(PARTS, &body), "{body:?}");
    }
}

#[test]
fn nothing_is_behind_more_parts_than_are_looked_at() {
    let head = "Content-Disposition: form-data; name=\"c\"";
    // Each is a part up to the next, and one up to the end.
    let many = format!("--X\r\n{head}\r\n\r\n") + &format!("a --X\n{head}\n\n").repeat(2000);
    assert!(!passes_as(PARTS, many + ATTACK + "\r\n--X--\r\n"));
}

#[test]
fn a_byte_order_mark_makes_no_document_a_form() {
    for content_type in ["", "application/xml", "text/plain", "image/png"] {
        let document = "\u{feff}<a b='x'>' O&#82; &#49;=&#49;&#32;--</a>";
        assert!(!passes_as(content_type, document), "{content_type}");
    }
    assert!(!passes_as("", "\u{feff}{\"a=b\": \"\\u003cscript>alert(1)</script>\"}"));
}

#[test]
fn texts_on_both_sides_of_what_is_no_text_are_one() {
    for text in [
        "&lt;script>a<!-- x -->lert(1)&lt;/script>",
        "&lt;script>a<?x y?>lert(1)&lt;/script>",
        "&lt;scr<![CDATA[ipt>alert(1)</scr]]>ipt>",
        "&lt;scr<!-- > --><!-- < --><![CDATA[ipt>alert(1)</script>]]>",
    ] {
        let document = format!("<?xml version=\"1.0\"?><a>{text}</a>");
        assert!(!passes_as("application/xml", document), "{text}");
    }
    let fine = "<?xml version=\"1.0\"?><a>fine <!-- words --> and <![CDATA[a < b && c]]> more</a>";
    assert!(passes_as("application/xml", fine));
}

#[test]
fn the_encoding_that_a_document_declares_is_one_that_can_be_read() {
    for encoding in ["utf-7", "cp037", "IBM500"] {
        let document = format!("<?xml version='1.0' encoding='{encoding}'?><a>fine</a>");
        assert!(!passes_as("application/xml", document), "{encoding}");
    }
    for encoding in ["utf-8", "ISO-8859-1", "US-ASCII"] {
        let document = format!("<?xml version=\"1.0\" encoding=\"{encoding}\"?><a>fine</a>");
        assert!(passes_as("text/xml", document), "{encoding}");
    }
}

#[test]
fn what_nobody_hides_anything_in_goes_on() {
    assert!(passes_as(FORM, "comment=fine&n=1"));
    assert!(passes_as("text/plain", wide("\u{feff}fine words", true)));
    assert!(passes_as("application/json", wide("{\"a\": \"fine words\"}", false)));
    assert!(passes_as("application/json; charset=utf-16", wide("\u{feff}{\"a\": \"fine words\"}", true)));
    assert!(passes_as(PARTS, part("Content-Disposition: form-data; name=\"comment\"", "fine --X words")));
    let mut gzip = write::GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(br#"{"comment": "fine words"}"#).unwrap();
    let json: (&str, &[u8]) = ("content-type", b"application/json");
    assert!(passes(&[json, ("content-encoding", b"gzip")], &gzip.finish().unwrap()));
}
