//! Reads the text of expressions. Must never compute anything.

use std::rc::Rc;

use super::{BinaryOperator, ExpressionError, ExpressionProblem, Function, Term, UnaryOperator, Value};
use isochrone_model::suggestion::nearest;

/// Bounds the recursion of reading and of computing.
const DEPTH_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Integer(i128),
    Float(f64),
    Text(String),
    Name(String),
    Symbol(&'static str),
    End,
}

/// Longer symbols first, since the first that fits is taken.
const SYMBOLS: [&str; 22] = [
    "||", "&&", "==", "!=", "<=", ">=", "..", "<", ">", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",",
    "!", "{", "}",
];

/// A reader of one text.
pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize)>,
    position: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Splits the text into tokens; `depth` is how deep the expression already stands.
    pub(super) fn new(text: &'a str, depth: usize) -> Result<Parser<'a>, ExpressionError> {
        let tokens = tokenize(text)?;
        Ok(Parser { text, tokens, position: 0, depth })
    }

    pub(super) fn whole(&mut self) -> Result<Term, ExpressionError> {
        let term = self.expression(0)?;
        self.expect_end("an operator or the end")?;
        Ok(term)
    }

    pub(super) fn range(&mut self) -> Result<(Term, Term), ExpressionError> {
        let first = self.expression(0)?;
        self.expect("..", "`..`, as in 0..n")?;
        let end = self.expression(0)?;
        self.expect_end("an operator or the end")?;
        Ok((first, end))
    }

    pub(super) fn reference(&mut self) -> Result<(String, Vec<Term>), ExpressionError> {
        let (token, column) = self.next();
        let Token::Name(name) = token else {
            return Err(self.fail_at(column, expected("the name of a buffer", &token)));
        };
        let mut indices = Vec::new();
        if self.accept("[") {
            indices.push(self.expression(0)?);
            while self.accept(",") {
                indices.push(self.expression(0)?);
            }
            self.expect("]", "`,` or `]`")?;
        }
        self.expect_end("`[` or the end")?;
        Ok((name, indices))
    }

    fn peek(&self) -> &(Token, usize) {
        // The last token is `End`, and nothing steps over it.
        &self.tokens[self.position.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> (Token, usize) {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let found = matches!(&self.peek().0, Token::Symbol(next) if *next == symbol);
        self.position += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str, wanted: &'static str) -> Result<(), ExpressionError> {
        if self.accept(symbol) {
            return Ok(());
        }
        let (token, column) = self.peek();
        Err(self.fail_at(*column, expected(wanted, token)))
    }

    fn expect_end(&self, wanted: &'static str) -> Result<(), ExpressionError> {
        let (token, column) = self.peek();
        if *token == Token::End { Ok(()) } else { Err(self.fail_at(*column, expected(wanted, token))) }
    }

    fn fail_at(&self, column: usize, problem: ExpressionProblem) -> ExpressionError {
        ExpressionError { text: self.text.to_owned(), column, problem }
    }

    /// Reads operators that bind at least as strongly as `strength_min`.
    fn expression(&mut self, strength_min: u8) -> Result<Term, ExpressionError> {
        let mut left = self.operand()?;
        let mut links = 0;
        while let Some((operator, strength)) =
            self.peek_operator().filter(|&(_, strength)| strength >= strength_min)
        {
            let column = self.next().1;
            // A long chain is a deep tree, and computing it recurses as far.
            links += 1;
            if links + self.depth > DEPTH_MAX {
                return Err(self.fail_at(column, ExpressionProblem::Depth { limit: DEPTH_MAX }));
            }
            let right = self.expression(strength + 1)?;
            left = Term::Binary { operator, left: Box::new(left), right: Box::new(right), column };
        }
        Ok(left)
    }

    fn peek_operator(&self) -> Option<(BinaryOperator, u8)> {
        let Token::Symbol(symbol) = self.peek().0 else {
            return None;
        };
        Some(match symbol {
            "||" => (BinaryOperator::Or, 1),
            "&&" => (BinaryOperator::And, 2),
            "==" => (BinaryOperator::Equal, 3),
            "!=" => (BinaryOperator::NotEqual, 3),
            "<" => (BinaryOperator::Less, 3),
            "<=" => (BinaryOperator::LessOrEqual, 3),
            ">" => (BinaryOperator::Greater, 3),
            ">=" => (BinaryOperator::GreaterOrEqual, 3),
            "+" => (BinaryOperator::Add, 4),
            "-" => (BinaryOperator::Subtract, 4),
            "*" => (BinaryOperator::Multiply, 5),
            "/" => (BinaryOperator::Divide, 5),
            "%" => (BinaryOperator::Remainder, 5),
            _ => return None,
        })
    }

    fn operand(&mut self) -> Result<Term, ExpressionError> {
        let (token, column) = self.next();
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.fail_at(column, ExpressionProblem::Depth { limit: DEPTH_MAX }));
        }
        let term = match token {
            Token::Integer(value) => Term::Literal(Value::Integer(value)),
            Token::Float(value) => Term::Literal(Value::Float(value)),
            Token::Text(text) => Term::Literal(Value::Text(Rc::from(text))),
            Token::Name(name) if name == "true" || name == "false" => {
                Term::Literal(Value::Boolean(name == "true"))
            }
            Token::Name(name) if self.accept("(") => self.call(&name, column)?,
            Token::Name(name) => Term::Name { name: Rc::from(name), column },
            Token::Symbol("(") => {
                let inner = self.expression(0)?;
                self.expect(")", "`)`")?;
                inner
            }
            Token::Symbol("-") => {
                Term::Unary { operator: UnaryOperator::Negate, operand: Box::new(self.operand()?), column }
            }
            Token::Symbol("!") => {
                Term::Unary { operator: UnaryOperator::Not, operand: Box::new(self.operand()?), column }
            }
            other @ (Token::Symbol(_) | Token::End) => {
                return Err(self.fail_at(column, expected("a number, a name or `(`", &other)));
            }
        };
        self.depth -= 1;
        Ok(term)
    }

    fn call(&mut self, name: &str, column: usize) -> Result<Term, ExpressionError> {
        let mut arguments = Vec::new();
        if !self.accept(")") {
            arguments.push(self.expression(0)?);
            while self.accept(",") {
                arguments.push(self.expression(0)?);
            }
            self.expect(")", "`,` or `)`")?;
        }
        let Some(function) = Function::ALL.into_iter().find(|function| function.name() == name) else {
            let suggestion = nearest(name, Function::ALL.iter().map(|function| function.name()));
            return Err(self
                .fail_at(column, ExpressionProblem::UnknownFunction { name: name.to_owned(), suggestion }));
        };
        let (least, most, words) = function.arguments();
        if !(least..=most).contains(&arguments.len()) {
            let problem = ExpressionProblem::Arguments {
                function: function.name(),
                expected: words,
                found: arguments.len(),
            };
            return Err(self.fail_at(column, problem));
        }
        Ok(Term::Call { function, arguments, column })
    }
}

fn expected(wanted: &'static str, token: &Token) -> ExpressionProblem {
    let found = match token {
        Token::Integer(value) => format!("`{value}`"),
        Token::Float(value) => format!("`{value:?}`"),
        Token::Text(text) => format!("'{text}'"),
        Token::Name(name) => format!("`{name}`"),
        Token::Symbol(symbol) => format!("`{symbol}`"),
        Token::End => "the end".to_owned(),
    };
    ExpressionProblem::Expected { expected: wanted, found }
}

fn tokenize(text: &str) -> Result<Vec<(Token, usize)>, ExpressionError> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&first) = characters.get(at) {
        let column = at + 1;
        let fail = |problem| ExpressionError { text: text.to_owned(), column, problem };
        if first.is_whitespace() {
            at += 1;
        } else if first.is_ascii_digit() {
            let (token, length) = number(&characters[at..]).ok_or_else(|| fail(ExpressionProblem::Number))?;
            tokens.push((token, column));
            at += length;
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = name_length(&characters[at..]);
            tokens.push((Token::Name(characters[at..at + length].iter().collect()), column));
            at += length;
        } else if first == '\'' {
            let rest = &characters[at + 1..];
            let length = rest.iter().position(|&next| next == '\'');
            let length = length.ok_or_else(|| fail(ExpressionProblem::NotClosed { opened: '\'' }))?;
            tokens.push((Token::Text(rest[..length].iter().collect()), column));
            at += length + 2;
        } else {
            let fits = |symbol: &&&str| {
                symbol
                    .chars()
                    .enumerate()
                    .all(|(offset, wanted)| characters.get(at + offset) == Some(&wanted))
            };
            let symbol = SYMBOLS
                .iter()
                .find(fits)
                .ok_or_else(|| fail(ExpressionProblem::Character { found: first }))?;
            tokens.push((Token::Symbol(symbol), column));
            at += symbol.len();
        }
    }
    tokens.push((Token::End, characters.len() + 1));
    Ok(tokens)
}

/// The length of a name: identifiers joined by single points, so that `0..a.rows..` splits where it should.
fn name_length(characters: &[char]) -> usize {
    let is_part = |character: &char| character.is_ascii_alphanumeric() || *character == '_';
    let mut length = characters.iter().take_while(|character| is_part(character)).count();
    while characters.get(length) == Some(&'.')
        && characters.get(length + 1).is_some_and(|next| next.is_ascii_alphabetic() || *next == '_')
    {
        length += 1 + characters[length + 1..].iter().take_while(|character| is_part(character)).count();
    }
    length
}

/// A number and its length; a point belongs to it only if a digit follows.
fn number(characters: &[char]) -> Option<(Token, usize)> {
    let digits = |from: usize| {
        characters[from..].iter().take_while(|next| next.is_ascii_digit() || **next == '_').count()
    };
    let mut length = digits(0);
    let mut is_float = false;
    if characters.get(length) == Some(&'.') && characters.get(length + 1).is_some_and(char::is_ascii_digit) {
        is_float = true;
        length += 1 + digits(length + 1);
    }
    if matches!(characters.get(length), Some('e' | 'E')) {
        let sign = usize::from(matches!(characters.get(length + 1), Some('+' | '-')));
        if characters.get(length + 1 + sign).is_some_and(char::is_ascii_digit) {
            is_float = true;
            length += 1 + sign + digits(length + 1 + sign);
        }
    }
    let text: String = characters[..length].iter().filter(|next| **next != '_').collect();
    if is_float {
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite())?;
        return Some((Token::Float(value), length));
    }
    Some((Token::Integer(text.parse().ok()?), length))
}
