//! What intelligence answers to input it refuses.

use security_core::Coded;

/// Why a record, a query, a feed or a correlation is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntelError {
    /// No such source type.
    #[error("`{given}` is no source type; accepted are {accepted}")]
    SourceType {
        /// What was given, shortened.
        given: String,
        /// What is accepted.
        accepted: String,
    },
    /// No such priority.
    #[error("`{given}` is no priority level; accepted are Critical, High, Medium, Low in any case")]
    Priority {
        /// What was given, shortened.
        given: String,
    },
    /// The data is larger or deeper than the budget.
    #[error("{what} is too large: {size}, at most {most} are accepted")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The most that is accepted.
        most: usize,
    },
    /// A query that cannot be read.
    #[error("`{place}` of the query is {given}; accepted is {accepted}")]
    Query {
        /// The key, or `query` for the whole.
        place: String,
        /// What was given, shortened.
        given: String,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A number outside its range.
    #[error("`{name}` is {given}; accepted is {accepted}")]
    Range {
        /// The argument.
        name: &'static str,
        /// What was given.
        given: String,
        /// What is accepted.
        accepted: &'static str,
    },
    /// Something that cannot be correlated.
    #[error("`{place}` is no indicator: {reason}")]
    Input {
        /// Where it stands.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No such feed or export format.
    #[error("`{given}` is no feed format; accepted are {accepted}")]
    Format {
        /// What was given, shortened.
        given: String,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A document that cannot be read as what it should be.
    #[error("not a valid {format} feed at line {line}, column {column}: {reason}")]
    Malformed {
        /// The format.
        format: &'static str,
        /// Line, from 1; `0` when the document as a whole is meant.
        line: usize,
        /// Column, from 1; `0` likewise.
        column: usize,
        /// What is wrong, shortened.
        reason: String,
    },
    /// A warninglist that cannot be used.
    #[error("`{name}` is no warninglist: {reason}")]
    Warninglist {
        /// Its name, or `the document` where it has none.
        name: String,
        /// What is wrong, shortened.
        reason: String,
    },
    /// No column of a CSV feed holds indicators.
    #[error("no column of the CSV feed holds indicators; its first row is {row}")]
    NoValueColumn {
        /// The first row, shortened.
        row: String,
    },
    /// Reading or writing broke off.
    #[error("{doing} broke off: {source}")]
    Stream {
        /// `reading the feed` or `writing the export`.
        doing: &'static str,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// STIX that cannot be read or made.
    #[error(transparent)]
    Stix(#[from] security_stix::StixError),
}

impl IntelError {
    pub(crate) fn malformed(format: &'static str, reason: &str) -> Self {
        Self::Malformed { format, line: 0, column: 0, reason: shorten(reason, 200) }
    }

    pub(crate) fn json(format: &'static str, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let reason = shorten(text.split(" at line ").next().unwrap_or(&text), 200);
        Self::Malformed { format, line: error.line(), column: error.column(), reason }
    }
}

/// At most `most` characters of a text, with `…` where something was cut.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    let mut letters = text.chars();
    let head: String = letters.by_ref().take(most).collect();
    if letters.next().is_some() { format!("{head}…") } else { head }
}

impl Coded for IntelError {
    fn code(&self) -> &'static str {
        match self {
            Self::SourceType { .. } => "intel-source-type",
            Self::Priority { .. } => "intel-priority",
            Self::TooLarge { .. } => "intel-too-large",
            Self::Query { .. } => "intel-query",
            Self::Range { .. } => "intel-range",
            Self::Input { .. } => "intel-input",
            Self::Format { .. } => "feed-format",
            Self::Malformed { .. } => "feed-malformed",
            Self::Warninglist { .. } => "warninglist-malformed",
            Self::NoValueColumn { .. } => "feed-no-value-column",
            Self::Stream { .. } => "feed-stream",
            Self::Stix(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoValueColumn { .. } => Some(
                "give the file a header with a column named value, indicator, ip, domain, url or a digest's name"
                    .to_owned(),
            ),
            Self::Malformed { .. } => {
                Some("name the format if it was guessed; a document that is cut off must be fetched again".to_owned())
            }
            Self::TooLarge { what: "the feed", .. } => Some(
                "JSON lists, JSON lines, STIX bundles, CSV and plain lists of any size are read; cut other documents up"
                    .to_owned(),
            ),
            Self::Warninglist { .. } => Some(
                "a warninglist is an object of name, type (string, substring, hostname, cidr or regex) and list"
                    .to_owned(),
            ),
            Self::Stix(error) => error.hint(),
            _ => None,
        }
    }
}
