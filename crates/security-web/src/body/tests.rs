use std::io::Write;

use flate2::{Compression, write};
use proptest::prelude::*;

use super::*;

const ATTACK: &[u8] = br#"{"comment": "<script>alert(1)</script>"}"#;

fn prefix(headers: &[(&str, &[u8])], most: usize) -> Option<BodyPrefix> {
    let inspection = InspectionPolicy { max_bytes: most, ..InspectionPolicy::default() };
    let view = RequestView { path: "/x", headers, ..RequestView::default() };
    BodyPrefix::of(&BodyPolicy::default(), &inspection, &view)
}

fn look(headers: &[(&str, &[u8])], body: &[u8]) -> Result<Inspection, UnreadableBody> {
    let mut prefix = prefix(headers, 4096).unwrap();
    prefix.take(body, true);
    prefix.inspect(&InspectionPolicy { max_bytes: 4096, ..InspectionPolicy::default() })
}

fn is_found(headers: &[(&str, &[u8])], body: &[u8]) -> bool {
    look(headers, body).unwrap().is_denied
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = write::GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn wide(text: &str, little: bool) -> Vec<u8> {
    let bytes = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn an_attack_is_found_whatever_the_body_calls_itself() {
    for content_type in [
        &b"application/json"[..],
        b"application/json; charset=utf-8",
        b"Application/Vnd.Api+JSON;charset=\"UTF-8\"",
        b"image/png",
        b"application/octet-stream",
        b"\xff\xfe",
        b"",
    ] {
        assert!(is_found(&[("Content-Type", content_type)], ATTACK), "{content_type:?}");
    }
    assert!(is_found(&[], ATTACK));
    assert!(is_found(&[("content-type", b"image/png")], &[&b" ".repeat(200)[..], ATTACK].concat()));
    assert!(!is_found(&[("content-type", b"image/png")], b"\x89PNG\r\n\x1a\n<script>alert(1)</script>"));
    assert!(!is_found(&[("content-type", b"application/json")], br#"{"name": "O'Brien", "n": [1, 2]}"#));
}

#[test]
fn what_is_no_text_is_let_alone_but_for_objects_to_be_unpacked() {
    for (content_type, start) in [
        ("image/png", &b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10"[..]),
        ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01"),
        ("image/gif", b"GIF89a\x01\0\x01\0\x80"),
        ("application/zip", b"PK\x03\x04\x14\0\0\0\x08\0"),
        ("application/pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj<</Type"),
        ("application/octet-stream", b"\x7fELF\x02\x01\x01\0"),
        ("application/octet-stream", b"SQLite format 3\0"),
        ("application/octet-stream", &[0; 100]),
        ("application/protobuf", b"\x0a\x05alice\x10\0"),
        ("application/grpc", b"\0\0\0\0\x07\x0a\x05alice"),
    ] {
        let body = [start, &[0; 200], b"' or 1=1-- <script>alert(1)</script>"].concat();
        let found = look(&[("content-type", content_type.as_bytes())], &body).unwrap();
        assert!(!found.is_denied && found.reasons.is_empty(), "{content_type} {start:?} {found:?}");
    }
    let java = b"\xac\xed\0\x05sr\0\x11java.util.HashMap\x05\x07\xda\xc1";
    assert!(is_found(&[("content-type", b"application/octet-stream")], java));
}

#[test]
fn wide_characters_hide_nothing() {
    let text = std::str::from_utf8(ATTACK).unwrap();
    for little in [true, false] {
        let mark = wide("\u{feff}", little);
        let json: [(&str, &[u8]); 1] = [("content-type", b"application/json")];
        assert!(is_found(&json, &wide(text, little)), "{little}");
        assert!(is_found(&json, &[mark, wide(text, little)].concat()), "{little}");
    }
    let four: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    assert!(is_found(&[("content-type", b"image/png")], &four));
    let form = wide("a=<script>alert(1)</script>", true);
    let named: [(&str, &[u8]); 1] =
        [("content-type", b"application/x-www-form-urlencoded; charset=utf-16le")];
    assert!(is_found(&named, &form));
}

#[test]
fn charsets_that_nobody_needs_are_unreadable() {
    for charset in ["ibm037", "utf-7", "cp500", "rot13", "hex"] {
        let content_type = format!("application/x-www-form-urlencoded; Charset='{charset}'");
        let looked = look(&[("content-type", content_type.as_bytes())], b"a=b");
        assert_eq!(looked, Err(UnreadableBody("its charset is not known")), "{charset}");
    }
    for charset in ["UTF-8", "iso-8859-15", "windows-1252", "EUC-JP", "Shift_JIS"] {
        let content_type = format!("text/plain; charset={charset}");
        assert!(look(&[("content-type", content_type.as_bytes())], b"fine").is_ok(), "{charset}");
    }
}

#[test]
fn a_type_that_two_readers_read_differently_is_unreadable() {
    for (content_type, why) in [
        ("application/x-www-form-urlencoded,image/png", "it has two content types"),
        ("image/png, application/x-www-form-urlencoded", "it has two content types"),
        ("multipart/form-data; boundary=X,image/png", "it has two content types"),
        ("multipart/form-data; boundary=A; boundary=B", "it has two boundaries"),
        ("multipart/form-data; boundary*0=A; boundary*1=B", "it has two boundaries"),
        ("multipart/form-data; boundary*=utf-8''A", "it has two boundaries"),
        ("multipart/form-data; boundary=\"a;b\"", "its boundary is none"),
        ("multipart/form-data; boundary=\"a\\\"b\"", "its boundary is none"),
        ("multipart/form-data; boundary=", "its boundary is none"),
        ("text/plain; charset=utf-8; charset=ibm037", "its charset is not known"),
    ] {
        let looked = look(&[("content-type", content_type.as_bytes())], b"--A\r\n\r\n1");
        assert_eq!(looked, Err(UnreadableBody(why)), "{content_type}");
    }
    for fine in [
        "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
        "multipart/form-data; boundary=\"a, b/c\"; charset=utf-8",
        "multipart/form-data",
        "multipart/mixed; boundary=A; boundary=B",
        "application/json; profile=\"https://example.com/a,b\"",
    ] {
        assert!(look(&[("content-type", fine.as_bytes())], b"{}").is_ok(), "{fine}");
    }
}

#[test]
fn packed_bodies_are_unpacked_and_no_further_than_is_looked_at() {
    let json: (&str, &[u8]) = ("content-type", b"application/json");
    let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(ATTACK).unwrap();
    let mut bare = write::DeflateEncoder::new(Vec::new(), Compression::fast());
    bare.write_all(ATTACK).unwrap();
    for (coding, body) in [
        ("gzip", gzip(ATTACK)),
        ("X-GZip", [gzip(b"{\"a\": "), gzip(b"\"<script>alert(1)</script>\"}")].concat()),
        ("identity, gzip", gzip(ATTACK)),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", bare.finish().unwrap()),
    ] {
        assert!(is_found(&[json, ("content-encoding", coding.as_bytes())], &body), "{coding}");
    }
    // Sixteen megabytes in sixteen kilobytes, the attack first and then last.
    for (is_first, expected) in [(true, true), (false, false)] {
        let filling = vec![b' '; 16 << 20];
        let parts = if is_first { [ATTACK, &filling] } else { [&filling, ATTACK] };
        let bomb = gzip(&parts.concat());
        let mut prefix = prefix(&[json, ("content-encoding", b"gzip")], 1 << 15).unwrap();
        prefix.take(&bomb, true);
        assert!(prefix.decoded().unwrap().len() <= (1 << 15) + 1);
        let inspection = InspectionPolicy { max_bytes: 1 << 15, ..InspectionPolicy::default() };
        assert_eq!(prefix.inspect(&inspection).unwrap().is_denied, expected);
    }
}

#[test]
fn what_does_not_unpack_is_unreadable_unless_we_cut_it_off() {
    let packed = gzip(&[ATTACK, &[b' '; 3000]].concat());
    let coding: [(&str, &[u8]); 1] = [("content-encoding", b"gzip")];
    for broken in [&packed[..packed.len() - 9], b"no gzip", &packed[..2]] {
        assert_eq!(look(&coding, broken), Err(UnreadableBody("it does not unpack")));
    }
    for named in [&b"br"[..], b"zstd", b"gzip, gzip", b"gzip, br"] {
        let looked = look(&[("content-encoding", named)], &packed);
        assert_eq!(looked, Err(UnreadableBody("its content coding is not known")));
    }
    let mut seed = 1u32;
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes()[0]
    });
    let noise: Vec<u8> = noise.take(40_000).collect();
    let long = gzip(&[ATTACK, &noise].concat());
    let mut cut = prefix(&[("content-type", b"application/json"), coding[0]], 4096).unwrap();
    cut.take(&long, false);
    assert_eq!(cut.wanted(), 0);
    assert!(
        cut.inspect(&InspectionPolicy { max_bytes: 4096, ..InspectionPolicy::default() }).unwrap().is_denied
    );
}

#[test]
fn wants_what_it_looks_at_and_no_more() {
    let json: [(&str, &[u8]); 1] = [("content-type", b"application/json")];
    let mut text = prefix(&json, 1000).unwrap();
    assert_eq!(text.wanted(), 1001);
    text.take(&[b' '; 600], false);
    assert_eq!(text.wanted(), 401);
    text.take(&[b' '; 600], false);
    assert_eq!((text.wanted(), text.bytes.len(), text.is_whole), (0, 1001, false));

    let picture: [(&str, &[u8]); 1] = [("content-type", b"image/jpeg")];
    let mut other = prefix(&picture, 1000).unwrap();
    assert_eq!(other.wanted(), SNIFFED);
    other.take(b"\xff\xd8\xff\xe0\0\x10JFIF", false);
    other.take(&[b'x'; 5000], false);
    assert_eq!((other.wanted(), other.bytes.len()), (0, SNIFFED));

    let mut short = prefix(&picture, 1000).unwrap();
    short.take(b"tiny", true);
    assert_eq!((short.wanted(), short.is_whole), (0, true));

    let off = InspectionPolicy { mode: InspectionMode::Off, ..InspectionPolicy::default() };
    let view = RequestView::default();
    assert!(BodyPrefix::of(&BodyPolicy::default(), &off, &view).is_none());
    let never = BodyPolicy { inspect: false, ..BodyPolicy::default() };
    assert!(BodyPrefix::of(&never, &InspectionPolicy::default(), &view).is_none());
}

#[test]
fn settings_are_held_to_their_ranges() {
    let policy: BodyPolicy = toml::from_str("max_bytes = 1048576\nunreadable = \"pass\"").unwrap();
    assert_eq!((policy.max_bytes, policy.unreadable), (Some(1 << 20), Unreadable::Pass));
    for bad in ["wait_seconds = 0", "wait_seconds = 3601", "unreadable = \"maybe\"", "max_byte = 1"] {
        assert!(toml::from_str::<BodyPolicy>(bad).is_err(), "{bad}");
    }
}

proptest! {
    /// However the chunks fall, the same bytes are looked at.
    #[test]
    fn chunks_change_nothing(
        body in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(1usize..60, 0..20),
        is_picture: bool, most in 1usize..200,
    ) {
        let content_type: &[u8] = if is_picture { b"image/png" } else { b"text/plain" };
        let headers: [(&str, &[u8]); 1] = [("content-type", content_type)];
        let mut whole = prefix(&headers, most).unwrap();
        whole.take(&body, true);
        let mut pieces = prefix(&headers, most).unwrap();
        let mut rest = &body[..];
        for cut in cuts {
            if cut >= rest.len() || pieces.wanted() == 0 {
                break;
            }
            let (chunk, after) = rest.split_at(cut);
            pieces.take(chunk, false);
            rest = after;
        }
        if pieces.wanted() > 0 {
            pieces.take(rest, true);
        }
        // What a picture is may be told from its first chunk: never less than that is kept.
        if !is_picture {
            prop_assert_eq!(&whole.bytes, &pieces.bytes);
        }
        prop_assert!(body.starts_with(&pieces.bytes) && pieces.bytes.len() <= most.max(SNIFFED) + 1);
        prop_assert_eq!(pieces.wanted(), 0);
    }

    #[test]
    fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200), content_type in ".{0,40}", coding in 0usize..4) {
        let coding = ["gzip", "deflate", "identity", "br"][coding];
        let headers: [(&str, &[u8]); 2] =
            [("content-type", content_type.as_bytes()), ("content-encoding", coding.as_bytes())];
        let _ = look(&headers, &body);
    }
}
