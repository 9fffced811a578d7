//! Windows registry keys.
//!
//! Canonical form: the hive's full name in upper case, then the path in lower case (the registry does not tell
//! cases apart), single backslashes, none at the end.

/// Hives by what people write.
const HIVES: &[(&str, &str)] = &[
    ("HKEY_LOCAL_MACHINE", "HKEY_LOCAL_MACHINE"),
    ("HKEY_CURRENT_USER", "HKEY_CURRENT_USER"),
    ("HKEY_CLASSES_ROOT", "HKEY_CLASSES_ROOT"),
    ("HKEY_USERS", "HKEY_USERS"),
    ("HKEY_CURRENT_CONFIG", "HKEY_CURRENT_CONFIG"),
    ("HKLM", "HKEY_LOCAL_MACHINE"),
    ("HKCU", "HKEY_CURRENT_USER"),
    ("HKCR", "HKEY_CLASSES_ROOT"),
    ("HKU", "HKEY_USERS"),
    ("HKCC", "HKEY_CURRENT_CONFIG"),
];

/// The hive a word names, by its full name.
pub(crate) fn hive(word: &str) -> Option<&'static str> {
    HIVES.iter().find(|(written, _)| word.eq_ignore_ascii_case(written)).map(|(_, full)| *full)
}

/// The canonical form of a key.
pub(crate) fn canonical(text: &str) -> Result<String, &'static str> {
    if text.bytes().any(|b| !(b' '..0x7f).contains(&b)) && text.chars().any(char::is_control) {
        return Err("a control character has no place in a registry key");
    }
    let text = text.strip_prefix(r"Computer\").unwrap_or(text);
    let (root, path) = text.split_once('\\').ok_or("there is no backslash after the hive")?;
    let hive = hive(root.trim_end_matches(':')).ok_or("it does not start with a hive, such as HKLM")?;
    let mut value = String::with_capacity(hive.len() + text.len());
    value.push_str(hive);
    for part in path.split('\\').map(str::trim).filter(|part| !part.is_empty()) {
        if part.len() > 1020 {
            return Err("a part of a registry key is at most 255 characters long");
        }
        value.push('\\');
        push_lowercase(&mut value, part);
    }
    if value.len() == hive.len() { Err("there is no key below the hive") } else { Ok(value) }
}

/// Adds a text in lower case; nearly always it is ASCII, for which there is a far shorter way.
fn push_lowercase(value: &mut String, part: &str) {
    if part.is_ascii() {
        let start = value.len();
        value.push_str(part);
        value[start..].make_ascii_lowercase();
    } else {
        value.extend(part.chars().flat_map(char::to_lowercase));
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn keys_have_one_form() {
        for text in [r"HKLM\Software\Evil", r"hkey_local_machine\SOFTWARE\evil\", r"HKLM:\\Software\\Evil"] {
            assert_eq!(canonical(text).as_deref(), Ok(r"HKEY_LOCAL_MACHINE\software\evil"));
        }
        for wrong in [r"HKLM", r"HKLM\", r"Software\Evil", r"HKXX\Software"] {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
    }
}
