//! Canonical text.

use std::fmt;

use super::{
    Comparison, ComparisonTest, Literal, ObjectPath, Observation, Operator, PathStep, Qualifier,
    expression::KEYWORDS,
};
use crate::time::format_time;

impl Observation {
    /// How strongly it binds.
    fn strength(&self) -> u8 {
        match self {
            Self::FollowedBy(_) => 1,
            Self::Or(_) => 2,
            Self::And(_) => 3,
            Self::Test(_) | Self::Qualified { .. } => 4,
        }
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, children: &[Self], word: &str| {
            for (position, child) in children.iter().enumerate() {
                if position > 0 {
                    write!(f, " {word} ")?;
                }
                grouped(f, child, child.strength() <= self.strength())?;
            }
            Ok(())
        };
        match self {
            Self::Test(comparison) => write!(f, "[{comparison}]"),
            Self::And(children) => joined(f, children, "AND"),
            Self::Or(children) => joined(f, children, "OR"),
            Self::FollowedBy(children) => joined(f, children, "FOLLOWEDBY"),
            Self::Qualified { observation, qualifiers } => {
                grouped(f, observation, observation.strength() < self.strength())?;
                qualifiers.iter().try_for_each(|qualifier| write!(f, " {qualifier}"))
            }
        }
    }
}

fn grouped(f: &mut fmt::Formatter<'_>, inner: &impl fmt::Display, in_parentheses: bool) -> fmt::Result {
    if in_parentheses { write!(f, "({inner})") } else { inner.fmt(f) }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Numbers that fit an integer are written as one, the others with a fraction, so that both read back.
            Self::Within(seconds) if seconds.fract() == 0.0 && *seconds >= 1e15 => {
                write!(f, "WITHIN {seconds:.1} SECONDS")
            }
            Self::Within(seconds) => write!(f, "WITHIN {seconds} SECONDS"),
            Self::Repeats(times) => write!(f, "REPEATS {times} TIMES"),
            Self::StartStop { start, stop } => {
                write!(f, "START t'{}' STOP t'{}'", format_time(*start), format_time(*stop))
            }
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (children, word) = match self {
            Self::Test(test) => return test.fmt(f),
            Self::And(children) => (children, " AND "),
            Self::Or(children) => (children, " OR "),
        };
        for (position, child) in children.iter().enumerate() {
            if position > 0 {
                f.write_str(word)?;
            }
            let weaker = match child {
                Self::Test(_) => false,
                Self::And(_) => matches!(self, Self::And(_)),
                Self::Or(_) => true,
            };
            grouped(f, child, weaker)?;
        }
        Ok(())
    }
}

impl fmt::Display for ComparisonTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "NOT " } else { "" };
        let Self { path, operator, operands, .. } = self;
        match operator {
            Operator::Exists => write!(f, "{not}EXISTS {path}"),
            Operator::In => {
                write!(f, "{path} {not}IN (")?;
                for (position, literal) in operands.iter().enumerate() {
                    write!(f, "{}{literal}", if position > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            _ => {
                write!(f, "{path} {not}{operator}")?;
                operands.iter().try_for_each(|literal| write!(f, " {literal}"))
            }
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "IN",
            Self::Like => "LIKE",
            Self::Matches => "MATCHES",
            Self::IsSubset => "ISSUBSET",
            Self::IsSuperset => "ISSUPERSET",
            Self::Exists => "EXISTS",
        })
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.object_type)?;
        for (position, step) in self.steps.iter().enumerate() {
            match step {
                PathStep::Index(place) => write!(f, "[{place}]")?,
                PathStep::AnyIndex => f.write_str("[*]")?,
                PathStep::Property(name) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    if is_bare(name) { f.write_str(name)? } else { quote(f, name)? }
                }
            }
        }
        Ok(())
    }
}

/// Whether the grammar reads the name without quotes.
fn is_bare(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !KEYWORDS.contains(&name)
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => quote(f, text),
            Self::Integer(number) => write!(f, "{number}"),
            // `{:?}` writes an exponent for very big and small numbers, which the language does not have.
            Self::Float(number) if number.fract() == 0.0 => write!(f, "{number:.1}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Boolean(truth) => write!(f, "{truth}"),
            Self::Time(time) => write!(f, "t'{}'", format_time(*time)),
            Self::Hex(digits) => write!(f, "h'{digits}'"),
            Self::Binary(digits) => write!(f, "b'{digits}'"),
        }
    }
}

fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("'")?;
    for part in text.split_inclusive(['\'', '\\']) {
        match part.strip_suffix(['\'', '\\']) {
            Some(plain) => write!(f, "{plain}\\{}", &part[plain.len()..])?,
            None => f.write_str(part)?,
        }
    }
    f.write_str("'")
}
