//! Aggregate expressions: `function(column, number)`.

use crate::codes;
use crate::document::Text;
use crate::place::{Place, Word};
use crate::problems::Problems;

/// A call of a built-in aggregate as written.
pub(crate) struct Expression {
    pub(crate) function: Word,
    pub(crate) arguments: Vec<Argument>,
    /// The whole text.
    pub(crate) place: Place,
}

/// An argument.
pub(crate) enum Argument {
    Column(Word),
    Number { value: f64, word: Word },
}

impl Argument {
    pub(crate) fn place(&self) -> &Place {
        match self {
            Self::Column(word) | Self::Number { word, .. } => &word.place,
        }
    }
}

/// Reads an expression.
pub(super) fn parse(text: &Text, place: &Place, problems: &Problems) -> Option<Expression> {
    let parser = Parser {
        text: &text.value,
        at: 0,
        place,
        shift: shift(text, place),
    };
    match parser.expression() {
        Ok(expression) => Some(expression),
        Err((at, message)) => {
            problems.error(
                codes::AGGREGATE_SYNTAX,
                format!("\"{}\" is no aggregate: {message}", text.written),
                &at,
                "write a function with its column in parentheses, as in \"count()\", \"avg(delay)\" or \
                 \"quantile(delay, 0.99)\"; a column whose name is no plain word stands in backquotes",
            );
            None
        }
    }
}

/// How far the text's first letter stands behind the value's, where the file holds the text as it is.
fn shift(text: &Text, place: &Place) -> Option<usize> {
    let plain = place.variable.is_none() && text.value == text.written && !text.value.contains(['\\', '\n', '"', '\'']);
    // One quote at each side.
    (plain && place.span.len() == text.value.len() + 2).then_some(1)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    place: &'t Place,
    shift: Option<usize>,
}

type Problem = (Place, String);

impl Parser<'_> {
    fn expression(mut self) -> Result<Expression, Problem> {
        self.blanks();
        let function = self.name("the function's name")?;
        self.expect('(')?;
        let mut arguments = Vec::new();
        self.blanks();
        if !self.take(')') {
            loop {
                arguments.push(self.argument()?);
                self.blanks();
                if self.take(')') {
                    break;
                }
                self.expect(',')?;
            }
        }
        self.blanks();
        if self.at < self.text.len() {
            return Err(self.problem(self.at..self.text.len(), "something follows the closing parenthesis"));
        }
        Ok(Expression {
            function,
            arguments,
            place: self.place.clone(),
        })
    }

    fn argument(&mut self) -> Result<Argument, Problem> {
        self.blanks();
        if self.rest().starts_with('*') {
            return Err(self.problem(self.at..self.at + 1, "`*` is no column; rows are counted by `count()`"));
        }
        if self
            .rest()
            .starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        {
            let length = self
                .rest()
                .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '+' | '.' | '_'))
                .unwrap_or(self.rest().len());
            let word = self.word(length);
            return match word.text.replace('_', "").parse() {
                Ok(value) => Ok(Argument::Number { value, word }),
                Err(_) => Err((word.place, format!("`{}` is no number", word.text))),
            };
        }
        self.name("a column").map(Argument::Column)
    }

    /// A plain word, or anything in backquotes.
    fn name(&mut self, what: &str) -> Result<Word, Problem> {
        self.blanks();
        if let Some(quoted) = self.rest().strip_prefix('`') {
            let Some(length) = quoted.find('`') else {
                return Err(self.problem(self.at..self.text.len(), "a backquote is not closed"));
            };
            self.at += 1;
            let word = self.word(length);
            self.at += 1;
            return Ok(word);
        }
        let length = self
            .rest()
            .find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-')
            .unwrap_or(self.rest().len());
        if length == 0 {
            let end = self.rest().chars().next().map_or(self.at, |c| self.at + c.len_utf8());
            return Err(self.problem(self.at..end, &format!("{what} is missing")));
        }
        Ok(self.word(length))
    }

    fn expect(&mut self, c: char) -> Result<(), Problem> {
        self.blanks();
        if self.take(c) {
            return Ok(());
        }
        let end = self.rest().chars().next().map_or(self.at, |c| self.at + c.len_utf8());
        Err(self.problem(self.at..end, &format!("a `{c}` is missing")))
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn word(&mut self, length: usize) -> Word {
        let range = self.at..self.at + length;
        self.at = range.end;
        Word {
            text: self.text[range.clone()].to_owned(),
            place: self.part(range),
        }
    }

    fn part(&self, range: std::ops::Range<usize>) -> Place {
        match self.shift {
            Some(shift) => {
                let start = self.place.span.start + shift;
                Place::of(start + range.start..start + range.end)
            }
            None => self.place.clone(),
        }
    }

    fn problem(&self, range: std::ops::Range<usize>, message: &str) -> Problem {
        (self.part(range), message.to_owned())
    }
}
