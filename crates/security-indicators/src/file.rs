//! File names and paths, and which endings make a name look like a file rather than a host.
//!
//! Canonical form: names and Windows paths in lower case (Windows does not tell cases apart, and lists are written
//! for it), with single backslashes. POSIX paths keep their case.

/// Endings that are top-level domains too, but stand for a file far more often: `setup.py`, `invoice.zip`.
///
/// A name of two labels with one of them is no domain in running text unless it was defanged or a URL says so. Of a
/// value that stands by itself less is a file: [`is_rather_a_file`].
pub(crate) const AMBIGUOUS: &[&str] = &[
    "bar", "data", "foo", "hiv", "java", "map", "md", "mov", "pid", "ps", "py", "rs", "sh", "so", "target",
    "zip",
];

/// Those of [`AMBIGUOUS`] below which next to nobody has a host of two labels: `.py` sells names of three, `.zip` is
/// the archive whose look is imitated, and the registries of the others sell none.
const FILE_ENDINGS: &[&str] = &["data", "java", "map", "pid", "py", "target", "zip"];

/// Names of files that stand in every other project, before any ending of [`AMBIGUOUS`].
const FILE_STEMS: &[&str] = &[
    "authors",
    "build",
    "changelog",
    "contributing",
    "deploy",
    "entrypoint",
    "index",
    "init",
    "install",
    "lib",
    "license",
    "main",
    "mod",
    "notice",
    "readme",
    "run",
    "security",
    "setup",
    "start",
    "test",
    "tests",
    "todo",
];

/// Endings that are top-level domains of many real hosts and of some files; as a part of a path they are files.
pub(crate) const IN_PATHS: &[&str] = &[
    "app", "ax", "cab", "cat", "cc", "com", "pl", "pm", "ml", "la", "in", "mk", "as", "am", "do", "tf", "vi",
];

/// Endings of files that are no top-level domain.
const FILE_ONLY: &[&str] = &[
    "7z", "aac", "accdb", "apk", "asp", "aspx", "avi", "bak", "bat", "bin", "bmp", "c", "cab", "cfg", "chm",
    "class", "cmd", "conf", "config", "cpl", "cpp", "crt", "cs", "css", "csv", "dat", "db", "dbf", "deb",
    "desktop", "dex", "dll", "dmg", "dmp", "doc", "docm", "docx", "dot", "dotm", "drv", "dylib", "elf",
    "eml", "evtx", "exe", "flv", "gadget", "gif", "go", "gz", "h", "hlp", "hta", "htm", "html", "hwp", "ico",
    "img", "inf", "ini", "iso", "jar", "jpeg", "jpg", "js", "jse", "json", "jsp", "jspx", "key", "ko", "lnk",
    "log", "lua", "mdb", "mp3", "mp4", "msc", "msg", "msi", "msp", "mst", "node", "obj", "ocx", "odt", "one",
    "ova", "pcap", "pdb", "pdf", "pem", "pfx", "php", "pif", "plist", "png", "pot", "ppa", "ppam", "ppt",
    "pptm", "pptx", "ps1", "psd1", "psm1", "pyc", "pyd", "pyw", "rar", "rb", "reg", "rpm", "rtf", "scf",
    "scr", "sct", "service", "sldm", "sql", "swf", "sys", "tar", "tgz", "tif", "tmp", "ts", "txt", "url",
    "vb", "vbe", "vbs", "vhd", "vhdx", "vmdk", "wav", "wll", "wsc", "wsf", "wsh", "xla", "xlam", "xll",
    "xls", "xlsb", "xlsm", "xlsx", "xlt", "xml", "xsl", "xz", "yaml", "yar", "yara", "yml",
];

/// Whether a name ends as a file does.
pub(crate) fn has_file_ending(name: &str) -> bool {
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    let ending = ending.to_ascii_lowercase();
    !stem.is_empty() && (FILE_ONLY.contains(&ending.as_str()) || AMBIGUOUS.contains(&ending.as_str()))
}

/// Whether a canonical host of two labels that stands by itself, as a whole value or in a list, is rather a file.
///
/// The suffix exists, and hosts are listed below `.rs`, `.so`, `.ps`, `.md`, `.sh`, `.bar` and `.mov`, so they are
/// hosts, but for two exceptions: [`FILE_ENDINGS`] (`setup.py`, `invoice.zip`), and the few file names that
/// everybody knows (`readme.md`, `main.rs`, `install.sh`, `libssl.so`).
pub(crate) fn is_rather_a_file(host: &str) -> bool {
    host.split_once('.').is_some_and(|(stem, ending)| {
        FILE_ENDINGS.contains(&ending)
            || (AMBIGUOUS.contains(&ending) && FILE_STEMS.contains(&stem))
            || (ending == "so" && stem.starts_with("lib"))
    })
}

/// The canonical form of a file name.
pub(crate) fn canonical_name(text: &str) -> Result<String, &'static str> {
    if text.contains(['/', '\\']) {
        return Err("a file name has no folders; use file_path");
    }
    if text.chars().any(|c| c.is_control() || "<>\"|?*".contains(c)) || text == "." || text == ".." {
        return Err("a file name has no control characters and none of <>\"|?*");
    }
    if text.len() > 1020 {
        return Err("a file name has at most 255 characters");
    }
    Ok(text.to_lowercase())
}

/// The canonical form of a path with at least one folder.
pub(crate) fn canonical_path(text: &str) -> Result<String, &'static str> {
    if text.chars().any(char::is_control) {
        return Err("a control character has no place in a path");
    }
    if !text.contains('\\') {
        return if text.contains('/') {
            Ok(text.to_owned())
        } else {
            Err("a path has a folder; use file_name")
        };
    }
    if text.chars().any(|c| "<>\"|?*".contains(c)) {
        return Err("a Windows path has none of <>\"|?*");
    }
    // `\\server\share` keeps its two backslashes; doubled ones elsewhere come from source code or JSON.
    let shared = text.starts_with(r"\\");
    let mut value = String::from(if shared {
        r"\\"
    } else if text.starts_with(['\\', '/']) {
        r"\"
    } else {
        ""
    });
    let parts: Vec<&str> = text.split(['\\', '/']).map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err("the path names nothing");
    }
    value.extend(parts.join(r"\").chars().flat_map(char::to_lowercase));
    if !value.contains('\\') {
        value.push('\\');
    }
    Ok(value)
}

/// Whether a text starts as an absolute Windows path does: a drive, a share, or a variable.
pub(crate) fn starts_as_a_windows_path(text: &str) -> bool {
    let bytes = text.as_bytes();
    let drive = bytes.len() > 3 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && bytes[2] == b'\\';
    let share = bytes.len() > 4
        && bytes.starts_with(br"\\")
        && bytes[2].is_ascii_alphanumeric()
        && text[2..].contains('\\');
    let variable = bytes.first() == Some(&b'%')
        && text[1..].split_once('%').is_some_and(|(name, rest)| {
            !name.is_empty()
                && name.len() <= 40
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_()".contains(&b))
                && rest.len() > 1
                && rest.starts_with('\\')
        });
    drive || share || variable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_have_one_form() {
        assert_eq!(canonical_name("Invoice.PDF").as_deref(), Ok("invoice.pdf"));
        assert_eq!(canonical_path(r"C:\Users\Public\A.EXE").as_deref(), Ok(r"c:\users\public\a.exe"));
        assert_eq!(canonical_path(r"C:\\Users\\A.EXE").as_deref(), Ok(r"c:\users\a.exe"));
        assert_eq!(canonical_path(r"\\Server\Share\A").as_deref(), Ok(r"\\server\share\a"));
        assert_eq!(canonical_path("/etc/Passwd").as_deref(), Ok("/etc/Passwd"));
        assert_eq!(canonical_path(r"C:\").as_deref(), Ok(r"c:\"));
        for wrong in ["", "a/b", r"a\b", "a\0b", ".."] {
            assert!(canonical_name(wrong).is_err() || wrong.is_empty(), "{wrong}");
        }
        assert!(canonical_path("invoice.pdf").is_err());
        assert!(canonical_path(r"\\").is_err());
    }

    #[test]
    fn endings_tell_files_from_hosts() {
        assert!(has_file_ending("setup.py") && has_file_ending("Report.PDF"));
        assert!(!has_file_ending("evil.com") && !has_file_ending(".exe") && !has_file_ending("exe"));
        for file in ["invoice.zip", "setup.py", "readme.md", "main.rs", "install.sh", "libssl.so"] {
            assert!(is_rather_a_file(file), "{file}");
        }
        for host in ["www.invoice.zip", "evil-host.md", "evil-host.rs", "evil-host.so", "main.com"] {
            assert!(!is_rather_a_file(host), "{host}");
        }
    }
}
