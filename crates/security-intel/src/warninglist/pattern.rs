//! Regular expressions as PHP writes them, `/…/i`, in our syntax.

/// The expression without its delimiters and with its flags inside; one without delimiters is taken as it is.
///
/// # Errors
/// A flag that has no counterpart.
pub(super) fn translated(text: &str) -> Result<String, String> {
    let text = text.trim();
    let Some(rest) = text.strip_prefix('/') else { return Ok(text.to_owned()) };
    let Some((pattern, flags)) = rest.rsplit_once('/') else { return Ok(text.to_owned()) };
    let mut inside = String::new();
    for flag in flags.chars() {
        match flag {
            'i' | 'm' | 's' | 'x' => inside.push(flag),
            // Our expressions know Unicode always, and whether one matches is all that is asked.
            'u' | 'g' | 'S' => {}
            _ => return Err(format!("the flag `{flag}` of `{text}` is not known")),
        }
    }
    Ok(if inside.is_empty() { pattern.to_owned() } else { format!("(?{inside}){pattern}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_and_flags_are_taken_off() {
        for (given, expected) in [
            (r"/^(noc|soc)\@.*$/i", r"(?i)^(noc|soc)\@.*$"),
            ("/a\\/b/g", "a\\/b"),
            ("^plain$", "^plain$"),
            ("/only-one", "/only-one"),
            ("/x/ims", "(?ims)x"),
        ] {
            assert_eq!(translated(given), Ok(expected.to_owned()));
        }
        assert!(translated("/x/e").unwrap_err().contains("flag `e`"));
    }
}
