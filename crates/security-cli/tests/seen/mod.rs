//! What a person sees of a run, compared with what was seen before.

use crate::place::{Place, Ran};

/// Arguments, exit code, stdout and stderr as one text, with everything that differs from run to run replaced.
fn transcript(place: &Place, arguments: &[&str], ran: &Ran) -> String {
    let text = format!(
        "$ security {}\nexit code {}\n--- stdout\n{}--- stderr\n{}",
        arguments.join(" "),
        ran.exit,
        ran.stdout,
        ran.stderr
    );
    let folder = place.path().canonicalize().unwrap();
    let folder = folder.to_str().unwrap();
    // The folder's name may be of any length, and columns are as wide as what stands in them.
    let columns = if text.contains(folder) { r"(\S) {2,}" } else { r"(\S) +$" };
    let mut text = text.replace(folder, "[folder]");
    for (pattern, replacement) in [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[uuid]"),
        (r"\bsk_[0-9A-Za-z_]{18,}(\*{4})?", "[key]"),
        (r"\b[01][0-9A-Za-z]{16}\b", "[key id]"),
        (r"\b[0-9a-f]{16}\b", "[master key]"),
        (r"(process\s+)\d+", "${1}[number]"),
        (r"(bytes\s+)\d+", "${1}[number]"),
        (r"(sqlite version\s+)\S+", "${1}[version]"),
        (columns, "$1  "),
        (r" +\n", "\n"),
    ] {
        text = regex::Regex::new(pattern).unwrap().replace_all(&text, replacement).into_owned();
    }
    text
}

/// Runs, and compares all that a person sees.
#[track_caller]
pub(crate) fn seen(place: &Place, name: &str, arguments: &[&str], stdin: &str) -> Ran {
    let ran = place.run_with(arguments, stdin);
    // Named by what they show, whichever file of tests asks for them.
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "../snapshots" }, {
        insta::assert_snapshot!(name, transcript(place, arguments, &ran));
    });
    ran
}
