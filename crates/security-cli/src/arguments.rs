//! Options that every verb takes, and values that several verbs read alike.

use std::{path::PathBuf, time::Duration};

/// Options that every verb takes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The data directory [environment: SECURITY_DATA_DIR; default: ./data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// The configuration file [environment: SECURITY_CONFIG; default: ./security.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// JSON instead of tables: one object a line on stdout, errors as one object on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// No progress and no remarks; results and errors only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// Units of a duration and their seconds.
const UNITS: [(&str, u64); 5] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)];

/// Reads a duration: whole seconds, or a count with one of the units `s m h d w`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let refuse =
        || "accepted are seconds like 3600, or a count with a unit: 90s, 15m, 12h, 30d, 2w".to_owned();
    let text = text.trim();
    let (count, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
        .unwrap_or((text, 1));
    let count: u64 = count.trim_end().parse().map_err(|_| refuse())?;
    count.checked_mul(factor).map(Duration::from_secs).ok_or_else(refuse)
}

/// Reads `KEY=VALUE`; the value may hold further equals signs.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("accepted is KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        for (text, seconds) in [
            ("0", 0),
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("2w", 1_209_600),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "-1", "1.5h", "5y", "1h30m", "99999999999999999999", "18446744073709551615w"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pairs_split_at_the_first_sign() {
        assert_eq!(pair("team=orders=eu"), Ok(("team".into(), "orders=eu".into())));
        assert!(pair("team").is_err() && pair("=x").is_err());
    }
}
