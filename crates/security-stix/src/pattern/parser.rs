//! From words to an expression.

use super::{
    Comparison, ComparisonTest, Literal, ObjectPath, Observation, Operator, PathStep, PatternError,
    Qualifier,
    lexer::{Lexer, Token},
};

/// Reads a whole pattern.
pub(super) fn parse_pattern(text: &str, max_depth: usize) -> Result<Observation, PatternError> {
    let mut parser = Parser::new(text, max_depth)?;
    let root = parser.followed_by()?;
    parser.expect_end("AND, OR, FOLLOWEDBY, a qualifier or the end")?;
    Ok(root)
}

/// Reads an object path that stands alone.
pub(super) fn parse_path(text: &str) -> Result<ObjectPath, PatternError> {
    let mut parser = Parser::new(text, 0)?;
    let path = parser.path()?;
    parser.expect_end("`.`, `[` or the end of the path")?;
    Ok(path)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    offset: usize,
    depth: usize,
    max_depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, max_depth: usize) -> Result<Self, PatternError> {
        let mut lexer = Lexer::new(text);
        let (token, offset) = lexer.next_token()?;
        Ok(Self { lexer, token, offset, depth: 0, max_depth })
    }

    /// The word at hand; the next one is at hand then.
    fn take(&mut self) -> Result<Token<'a>, PatternError> {
        let (next, offset) = self.lexer.next_token()?;
        self.offset = offset;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn expected<T>(&self, expected: &str) -> Result<T, PatternError> {
        Err(PatternError::Syntax {
            offset: self.offset,
            expected: expected.into(),
            found: self.token.shown(),
        })
    }

    fn expect(&mut self, token: &Token<'_>, expected: &str) -> Result<(), PatternError> {
        if self.token == *token { self.take().map(drop) } else { self.expected(expected) }
    }

    fn expect_word(&mut self, word: &str) -> Result<(), PatternError> {
        if self.is_word(word) { self.take().map(drop) } else { self.expected(word) }
    }

    fn expect_end(&self, expected: &str) -> Result<(), PatternError> {
        if self.token == Token::End { Ok(()) } else { self.expected(expected) }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.token, Token::Word(found) if found == word)
    }

    fn meaningless(offset: usize, reason: &str) -> PatternError {
        PatternError::Meaningless { offset, reason: reason.into() }
    }

    /// Whatever stands in parentheses, one level deeper.
    fn in_parentheses<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, PatternError>,
        expected: &str,
    ) -> Result<T, PatternError> {
        self.depth += 1;
        if self.depth > self.max_depth {
            return Err(PatternError::TooDeep { offset: self.offset, limit: self.max_depth });
        }
        self.take()?;
        let result = inner(self)?;
        self.expect(&Token::RightParenthesis, expected)?;
        self.depth -= 1;
        Ok(result)
    }

    fn followed_by(&mut self) -> Result<Observation, PatternError> {
        let first = self.observation_or()?;
        if !self.is_word("FOLLOWEDBY") {
            return Ok(first);
        }
        let mut children = vec![first];
        while self.is_word("FOLLOWEDBY") {
            self.take()?;
            children.push(self.observation_or()?);
        }
        Ok(Observation::FollowedBy(children))
    }

    fn observation_or(&mut self) -> Result<Observation, PatternError> {
        let first = self.observation_and()?;
        if !self.is_word("OR") {
            return Ok(first);
        }
        let mut children = flattened_or(first);
        while self.is_word("OR") {
            self.take()?;
            children.append(&mut flattened_or(self.observation_and()?));
        }
        Ok(Observation::Or(children))
    }

    fn observation_and(&mut self) -> Result<Observation, PatternError> {
        let first = self.qualified()?;
        if !self.is_word("AND") {
            return Ok(first);
        }
        let mut children = flattened_and(first);
        while self.is_word("AND") {
            self.take()?;
            children.append(&mut flattened_and(self.qualified()?));
        }
        Ok(Observation::And(children))
    }

    fn qualified(&mut self) -> Result<Observation, PatternError> {
        let observation = match self.token {
            Token::LeftBracket => {
                self.take()?;
                let comparison = self.comparison_or()?;
                self.expect(&Token::RightBracket, "AND, OR or `]`")?;
                Observation::Test(comparison)
            }
            Token::LeftParenthesis => {
                self.in_parentheses(Self::followed_by, "AND, OR, FOLLOWEDBY, a qualifier or `)`")?
            }
            _ => return self.expected("`[` or `(`"),
        };
        let mut more = Vec::new();
        while let Some(qualifier) = self.qualifier()? {
            more.push(qualifier);
        }
        if more.is_empty() {
            return Ok(observation);
        }
        // Parentheses around a qualified expression change nothing: qualifiers apply one after the other anyway.
        Ok(match observation {
            Observation::Qualified { observation, mut qualifiers } => {
                qualifiers.append(&mut more);
                Observation::Qualified { observation, qualifiers }
            }
            other => Observation::Qualified { observation: Box::new(other), qualifiers: more },
        })
    }

    fn qualifier(&mut self) -> Result<Option<Qualifier>, PatternError> {
        let Token::Word(word) = self.token else {
            return Ok(None);
        };
        match word {
            "WITHIN" => {
                self.take()?;
                let offset = self.offset;
                let seconds = match self.take()? {
                    Token::Integer(number) => number as f64, // above 2^53 seconds the last digits do not matter
                    Token::Float(number) => number,
                    other => return Self::unexpected(offset, "a number of seconds", &other),
                };
                if seconds <= 0.0 {
                    return Err(Self::meaningless(offset, "WITHIN takes more than zero seconds"));
                }
                self.expect_word("SECONDS")?;
                Ok(Some(Qualifier::Within(seconds)))
            }
            "REPEATS" => {
                self.take()?;
                let offset = self.offset;
                let times = match self.take()? {
                    Token::Integer(number) => u64::try_from(number).unwrap_or(0),
                    other => return Self::unexpected(offset, "a whole number of times", &other),
                };
                if times == 0 {
                    return Err(Self::meaningless(offset, "REPEATS takes one or more times"));
                }
                self.expect_word("TIMES")?;
                Ok(Some(Qualifier::Repeats(times)))
            }
            "START" => {
                self.take()?;
                let start = self.time()?;
                self.expect_word("STOP")?;
                let offset = self.offset;
                let stop = self.time()?;
                if stop <= start {
                    return Err(Self::meaningless(offset, "STOP is not after START"));
                }
                Ok(Some(Qualifier::StartStop { start, stop }))
            }
            _ => Ok(None),
        }
    }

    fn unexpected<T>(offset: usize, expected: &str, found: &Token<'_>) -> Result<T, PatternError> {
        Err(PatternError::Syntax { offset, expected: expected.into(), found: found.shown() })
    }

    fn time(&mut self) -> Result<security_core::Timestamp, PatternError> {
        let offset = self.offset;
        match self.take()? {
            Token::Time(time) => Ok(time),
            other => Self::unexpected(offset, "a time like t'2026-11-24T08:30:00Z'", &other),
        }
    }

    fn comparison_or(&mut self) -> Result<Comparison, PatternError> {
        let first = self.comparison_and()?;
        if !self.is_word("OR") {
            return Ok(first);
        }
        let mut children = match first {
            Comparison::Or(children) => children,
            other => vec![other],
        };
        while self.is_word("OR") {
            self.take()?;
            match self.comparison_and()? {
                Comparison::Or(mut inner) => children.append(&mut inner),
                other => children.push(other),
            }
        }
        Ok(Comparison::Or(children))
    }

    fn comparison_and(&mut self) -> Result<Comparison, PatternError> {
        let first = self.test()?;
        if !self.is_word("AND") {
            return Ok(first);
        }
        let mut children = match first {
            Comparison::And(children) => children,
            other => vec![other],
        };
        while self.is_word("AND") {
            self.take()?;
            match self.test()? {
                Comparison::And(mut inner) => children.append(&mut inner),
                other => children.push(other),
            }
        }
        Ok(Comparison::And(children))
    }

    fn test(&mut self) -> Result<Comparison, PatternError> {
        if self.token == Token::LeftParenthesis {
            return self.in_parentheses(Self::comparison_or, "AND, OR or `)`");
        }
        if self.is_word("NOT") || self.is_word("EXISTS") {
            let negated = self.is_word("NOT");
            if negated {
                self.take()?;
            }
            self.expect_word("EXISTS")?;
            let path = self.path()?;
            let operator = Operator::Exists;
            return Ok(Comparison::Test(ComparisonTest { path, negated, operator, operands: Vec::new() }));
        }
        let path = self.path()?;
        let negated = self.is_word("NOT");
        if negated {
            self.take()?;
        }
        let operator = match self.token {
            Token::Comparison(operator) => operator,
            Token::Word("IN") => Operator::In,
            Token::Word("LIKE") => Operator::Like,
            Token::Word("MATCHES") => Operator::Matches,
            Token::Word("ISSUBSET") => Operator::IsSubset,
            Token::Word("ISSUPERSET") => Operator::IsSuperset,
            _ if negated => return self.expected("an operator"),
            _ => return self.expected("an operator, or `.` or `[` to go on with the path"),
        };
        self.take()?;
        let operands = match operator {
            Operator::In => self.set()?,
            Operator::Equal | Operator::NotEqual => vec![self.literal("a literal", |_| true)?],
            Operator::Like | Operator::Matches | Operator::IsSubset | Operator::IsSuperset => {
                vec![self.literal("a text in single quotes", |literal| matches!(literal, Literal::Text(_)))?]
            }
            _ => {
                vec![self.literal("a literal with an order", |found| !matches!(found, Literal::Boolean(_)))?]
            }
        };
        Ok(Comparison::Test(ComparisonTest { path, negated, operator, operands }))
    }

    fn set(&mut self) -> Result<Vec<Literal>, PatternError> {
        self.expect(&Token::LeftParenthesis, "`(` before the list of literals")?;
        let mut literals = Vec::new();
        if self.token != Token::RightParenthesis {
            literals.push(self.literal("a literal or `)`", |_| true)?);
            while self.token == Token::Comma {
                self.take()?;
                literals.push(self.literal("a literal", |_| true)?);
            }
        }
        self.expect(&Token::RightParenthesis, "`,` or `)`")?;
        Ok(literals)
    }

    fn literal(&mut self, expected: &str, fits: impl Fn(&Literal) -> bool) -> Result<Literal, PatternError> {
        let literal = match &self.token {
            Token::Text(text) => Literal::Text(text.clone()),
            Token::Integer(number) => Literal::Integer(*number),
            Token::Float(number) => Literal::Float(*number),
            Token::Word("true") => Literal::Boolean(true),
            Token::Word("false") => Literal::Boolean(false),
            Token::Time(time) => Literal::Time(*time),
            Token::Hex(digits) => Literal::Hex(digits.clone()),
            Token::Binary(digits) => Literal::Binary(digits.clone()),
            _ => return self.expected(expected),
        };
        if !fits(&literal) {
            return self.expected(expected);
        }
        self.take()?;
        Ok(literal)
    }

    fn path(&mut self) -> Result<ObjectPath, PatternError> {
        let Token::Word(object_type) = self.token else {
            return self.expected("an object path like `domain-name:value`");
        };
        self.take()?;
        self.expect(&Token::Colon, "`:` after the object type")?;
        let mut steps = vec![self.property()?];
        loop {
            match self.token {
                Token::Dot => {
                    self.take()?;
                    steps.push(self.property()?);
                }
                Token::LeftBracket => {
                    self.take()?;
                    let step = match self.token {
                        Token::Integer(place) => PathStep::Index(place),
                        Token::Star => PathStep::AnyIndex,
                        _ => return self.expected("a whole number or `*`"),
                    };
                    steps.push(step);
                    self.take()?;
                    self.expect(&Token::RightBracket, "`]` after the place in the list")?;
                }
                _ => return Ok(ObjectPath { object_type: object_type.into(), steps }),
            }
        }
    }

    fn property(&mut self) -> Result<PathStep, PatternError> {
        let name = match &self.token {
            Token::Word(name) => (*name).to_owned(),
            Token::Text(name) => name.clone(),
            _ => return self.expected("a property name"),
        };
        self.take()?;
        Ok(PathStep::Property(name))
    }
}

fn flattened_or(observation: Observation) -> Vec<Observation> {
    match observation {
        Observation::Or(children) => children,
        other => vec![other],
    }
}

fn flattened_and(observation: Observation) -> Vec<Observation> {
    match observation {
        Observation::And(children) => children,
        other => vec![other],
    }
}
