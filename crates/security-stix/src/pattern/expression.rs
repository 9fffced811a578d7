//! What a pattern is made of.

use security_core::Timestamp;

/// An expression over observations. `FOLLOWEDBY` binds weakest, then `OR`, then `AND`. Source: STIX 2.1 §9.5.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// `[…]`: one observation for which the comparison holds.
    Test(Comparison),
    /// All of these, each by an observation of its own; at least two.
    And(Vec<Observation>),
    /// Any of these; at least two.
    Or(Vec<Observation>),
    /// All of these, each not before the one in front; at least two.
    FollowedBy(Vec<Observation>),
    /// One that the qualifiers narrow, in the order of the text; at least one qualifier.
    Qualified {
        /// What is narrowed.
        observation: Box<Observation>,
        /// By what.
        qualifiers: Vec<Qualifier>,
    },
}

/// What narrows an observation expression. Source: STIX 2.1 §9.5.1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Qualifier {
    /// `WITHIN x SECONDS`: all observations lie in that many seconds; above zero.
    Within(f64),
    /// `REPEATS x TIMES`: that many different observations; at least one.
    Repeats(u64),
    /// `START x STOP y`: observed at or after the start and before the stop.
    StartStop {
        /// The first moment.
        start: Timestamp,
        /// The first moment after; later than the start.
        stop: Timestamp,
    },
}

/// An expression over one observation. `OR` binds weaker than `AND`. Source: STIX 2.1 §9.6.
#[derive(Debug, Clone, PartialEq)]
pub enum Comparison {
    /// One property against literals.
    Test(ComparisonTest),
    /// All of these; at least two.
    And(Vec<Comparison>),
    /// Any of these; at least two.
    Or(Vec<Comparison>),
}

/// One property of an observable against literals.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonTest {
    /// The property.
    pub path: ObjectPath,
    /// Whether `NOT` turns it around.
    pub negated: bool,
    /// The comparison.
    pub operator: Operator,
    /// What the property is compared with: one literal; any number for `IN`; none for `EXISTS`.
    pub operands: Vec<Literal>,
}

/// How a property is compared. Source: STIX 2.1 §9.6.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `IN`: equal to one of a list.
    In,
    /// `LIKE`: text with the wildcards `%` and `_`.
    Like,
    /// `MATCHES`: a regular expression.
    Matches,
    /// `ISSUBSET`: inside a network.
    IsSubset,
    /// `ISSUPERSET`: a network that holds the literal.
    IsSuperset,
    /// `EXISTS`: the property is there.
    Exists,
}

/// Where a property is: `network-traffic:dst_ref.value`. Source: STIX 2.1 §9.7.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectPath {
    /// The type of the observable, for example `file`.
    pub object_type: String,
    /// The way to the property; the first step is a name.
    pub steps: Vec<PathStep>,
}

/// One step of an object path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathStep {
    /// A property by its name, or a key of a dictionary.
    Property(String),
    /// An item of a list by its place; negative ones are written by the grammar and mean nothing in the standard.
    Index(i64),
    /// Any item of a list: `[*]`.
    AnyIndex,
}

/// A constant. Source: STIX 2.1 §9.2.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `'text'`
    Text(String),
    /// `42`
    Integer(i64),
    /// `4.2`; finite.
    Float(f64),
    /// `true` or `false`
    Boolean(bool),
    /// `t'2026-11-24T08:30:00Z'`
    Time(Timestamp),
    /// `h'c0ffee'`, in lower case.
    Hex(String),
    /// `b'Y29mZmVl'`, in base64 with padding.
    Binary(String),
}

impl Observation {
    pub(super) fn each_comparison<'a>(&'a self, visit: &mut impl FnMut(&'a ComparisonTest)) {
        match self {
            Self::Test(comparison) => comparison.each(visit),
            Self::And(children) | Self::Or(children) | Self::FollowedBy(children) => {
                for child in children {
                    child.each_comparison(visit);
                }
            }
            Self::Qualified { observation, .. } => observation.each_comparison(visit),
        }
    }
}

impl Comparison {
    fn each<'a>(&'a self, visit: &mut impl FnMut(&'a ComparisonTest)) {
        match self {
            Self::Test(test) => visit(test),
            Self::And(children) | Self::Or(children) => {
                for child in children {
                    child.each(visit);
                }
            }
        }
    }
}

/// Words that mean something in the language, so that a property of this name is written in quotes.
pub(super) const KEYWORDS: [&str; 19] = [
    "AND",
    "OR",
    "NOT",
    "FOLLOWEDBY",
    "LIKE",
    "MATCHES",
    "ISSUPERSET",
    "ISSUBSET",
    "EXISTS",
    "LAST",
    "IN",
    "START",
    "STOP",
    "SECONDS",
    "true",
    "false",
    "WITHIN",
    "REPEATS",
    "TIMES",
];
