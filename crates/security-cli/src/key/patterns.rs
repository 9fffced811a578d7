//! `security key patterns`: the shape of own keys for scanners that others run.

use serde_json::json;

use crate::{
    output::{Exit, Outcome},
    session::Session,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The shape is all that these scanners can tell; `security key scan` also computes the checksum and says which
keys are live. Without --prefix every prefix that a key can have matches.

Examples:
  security key patterns gitleaks --prefix sk > .gitleaks.toml
  security key patterns trufflehog > trufflehog.yml
  security key patterns github")]
pub(crate) struct Arguments {
    /// For which scanner
    #[arg(value_enum)]
    scanner: Scanner,
    /// What your keys begin with, as given to `key issue --prefix`
    #[arg(long)]
    prefix: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Scanner {
    /// A configuration for gitleaks, on top of its own rules
    Gitleaks,
    /// A configuration for trufflehog
    Trufflehog,
    /// The fields of a custom pattern of GitHub's secret scanning
    Github,
    /// The regular expression alone
    Regex,
}

pub(crate) fn run(arguments: &Arguments, session: &mut Session) -> Outcome {
    let pattern = security::key_pattern(arguments.prefix.as_deref())?;
    // Both scanners read a file closer only if it holds one of these words.
    let keyword = arguments.prefix.as_deref().map_or_else(|| "_".to_owned(), |prefix| format!("{prefix}_"));
    if session.output.is_json() {
        session.output.record(&json!({"pattern": pattern, "keyword": keyword}))?;
        return Ok(Exit::Clean);
    }
    let text = match arguments.scanner {
        Scanner::Gitleaks => format!(
            "[extend]\n\
             useDefault = true\n\
             \n\
             [[rules]]\n\
             id = \"security-api-key\"\n\
             description = \"An API key that this application issued\"\n\
             regex = '''\\b({pattern})\\b'''\n\
             secretGroup = 1\n\
             keywords = [\"{keyword}\"]"
        ),
        Scanner::Trufflehog => format!(
            "detectors:\n  \
             - name: SecurityApiKey\n    \
             keywords:\n      \
             - \"{keyword}\"\n    \
             regex:\n      \
             key: '\\b({pattern})\\b'"
        ),
        Scanner::Github => format!(
            "Pattern name: API key of this application\n\
             Secret format: {pattern}\n\
             Before secret: \\A|[^0-9A-Za-z_]\n\
             After secret: \\z|[^0-9A-Za-z_]"
        ),
        Scanner::Regex => pattern,
    };
    for line in text.lines() {
        session.output.line(line)?;
    }
    Ok(Exit::Clean)
}
