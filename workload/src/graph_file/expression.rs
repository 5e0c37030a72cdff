//! Expressions, ranges and texts with expressions in braces: read once, computed for each turn of a loop.
//!
//! Must never hold the graph file's structure; names come from a [`Scope`].

mod evaluation;
mod parser;

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use isochrone_model::suggestion::nearest;

/// A value of a parameter, a loop variable or an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Text(Rc<str>),
}

impl Value {
    fn kind_name(&self) -> &'static str {
        match self {
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "true or false",
            Value::Text(_) => "a text",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Integer(value) => write!(formatter, "{value}"),
            // The debug form keeps the point, without which a compiler would take the number for an integer.
            Value::Float(value) => write!(formatter, "{value:?}"),
            Value::Boolean(value) => write!(formatter, "{value}"),
            Value::Text(value) => formatter.write_str(value),
        }
    }
}

/// An expression that cannot be read or computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("in `{text}` at column {column}: {problem}")]
pub struct ExpressionError {
    /// The expression.
    pub text: String,
    /// Where in it, in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: ExpressionProblem,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionProblem {
    /// A character that means nothing.
    #[error("unexpected character `{found}`")]
    Character {
        /// The character.
        found: char,
    },
    /// Something else was due here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What was due.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A number too large to be read.
    #[error("the number is too large")]
    Number,
    /// A quoted text or a brace that is not closed.
    #[error("`{opened}` is not closed")]
    NotClosed {
        /// What was opened.
        opened: char,
    },
    /// More parentheses and operators in each other than anyone writes.
    #[error("nested deeper than {limit} levels")]
    Depth {
        /// The bound.
        limit: usize,
    },
    /// A name that nothing has.
    #[error("there is no value `{name}`{}", suggestion.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    UnknownName {
        /// The name.
        name: String,
        /// The name that was probably meant.
        suggestion: Option<String>,
    },
    /// A function that does not exist.
    #[error("there is no function `{name}`{}", suggestion.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    UnknownFunction {
        /// The name.
        name: String,
        /// The name that was probably meant.
        suggestion: Option<String>,
    },
    /// A function with too few or too many arguments.
    #[error("`{function}` takes {expected} arguments, found {found}")]
    Arguments {
        /// The function.
        function: &'static str,
        /// How many it takes.
        expected: &'static str,
        /// How many there are.
        found: usize,
    },
    /// An operator or function cannot take this kind of value.
    #[error("`{operation}` needs {expected}, found {found}")]
    Kind {
        /// The operator or function.
        operation: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What it was given.
        found: &'static str,
    },
    /// The divisor is zero.
    #[error("division by zero")]
    DivisionByZero,
    /// The result has no place in 128 bits, or is not finite.
    #[error("the result overflows")]
    Overflow,
    /// `size_of` was asked for a type that does not exist.
    #[error("`{name}` is not a type; use an OpenCL type such as float, or a NumPy type such as float32")]
    UnknownType {
        /// The name.
        name: String,
    },
}

/// The names that expressions can use.
#[derive(Debug, Default)]
pub(super) struct Scope {
    globals: BTreeMap<String, Value>,
    locals: Vec<(Rc<str>, Value)>,
}

impl Scope {
    pub(super) fn set_global(&mut self, name: String, value: Value) {
        self.globals.insert(name, value);
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.look_up(name).is_some()
    }

    pub(super) fn look_up(&self, name: &str) -> Option<&Value> {
        self.locals
            .iter()
            .rev()
            .find(|(local, _)| &**local == name)
            .map(|(_, value)| value)
            .or_else(|| self.globals.get(name))
    }

    /// Adds a local name; `depth` before and `truncate` after undo it.
    pub(super) fn push(&mut self, name: Rc<str>, value: Value) {
        self.locals.push((name, value));
    }

    pub(super) fn depth(&self) -> usize {
        self.locals.len()
    }

    pub(super) fn truncate(&mut self, depth: usize) {
        self.locals.truncate(depth);
    }

    /// The local names with their values, as in `i = 2, j = 0`.
    pub(super) fn describe_locals(&self) -> String {
        self.locals.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
    }

    fn suggest(&self, name: &str) -> Option<String> {
        let locals = self.locals.iter().map(|(local, _)| &**local);
        nearest(name, locals.chain(self.globals.keys().map(String::as_str)))
    }
}

/// An expression, read and ready to be computed.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    text: Rc<str>,
    root: Rc<Term>,
}

/// A part of an expression; `column` is where it stands in the text, counted from 1.
#[derive(Debug, Clone)]
enum Term {
    Literal(Value),
    Name { name: Rc<str>, column: usize },
    Unary { operator: UnaryOperator, operand: Box<Term>, column: usize },
    Binary { operator: BinaryOperator, left: Box<Term>, right: Box<Term>, column: usize },
    Call { function: Function, arguments: Vec<Term>, column: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnaryOperator {
    Negate,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BinaryOperator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl BinaryOperator {
    fn symbol(self) -> &'static str {
        match self {
            BinaryOperator::Or => "||",
            BinaryOperator::And => "&&",
            BinaryOperator::Equal => "==",
            BinaryOperator::NotEqual => "!=",
            BinaryOperator::Less => "<",
            BinaryOperator::LessOrEqual => "<=",
            BinaryOperator::Greater => ">",
            BinaryOperator::GreaterOrEqual => ">=",
            BinaryOperator::Add => "+",
            BinaryOperator::Subtract => "-",
            BinaryOperator::Multiply => "*",
            BinaryOperator::Divide => "/",
            BinaryOperator::Remainder => "%",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Min,
    Max,
    CeilDiv,
    RoundUp,
    SizeOf,
    If,
}

impl Function {
    const ALL: [Function; 6] =
        [Function::Min, Function::Max, Function::CeilDiv, Function::RoundUp, Function::SizeOf, Function::If];

    fn name(self) -> &'static str {
        match self {
            Function::Min => "min",
            Function::Max => "max",
            Function::CeilDiv => "ceil_div",
            Function::RoundUp => "round_up",
            Function::SizeOf => "size_of",
            Function::If => "if",
        }
    }

    /// How many arguments it takes: the least, the most, and both in words.
    fn arguments(self) -> (usize, usize, &'static str) {
        match self {
            Function::Min | Function::Max => (1, usize::MAX, "one or more"),
            Function::CeilDiv | Function::RoundUp => (2, 2, "two"),
            Function::SizeOf => (1, 1, "one"),
            Function::If => (3, 3, "three"),
        }
    }
}

impl Expression {
    pub(super) fn integer(value: i128) -> Expression {
        Expression { text: Rc::from(value.to_string()), root: Rc::new(Term::Literal(Value::Integer(value))) }
    }

    pub(super) fn float(value: f64) -> Expression {
        Expression { text: Rc::from(format!("{value:?}")), root: Rc::new(Term::Literal(Value::Float(value))) }
    }

    pub(super) fn boolean(value: bool) -> Expression {
        Expression { text: Rc::from(value.to_string()), root: Rc::new(Term::Literal(Value::Boolean(value))) }
    }

    pub(super) fn parse(text: &str) -> Result<Expression, ExpressionError> {
        let mut parser = parser::Parser::new(text, 0)?;
        let root = Rc::new(parser.whole()?);
        Ok(Expression { text: Rc::from(text), root })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn evaluate(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        evaluation::evaluate(&self.root, scope).map_err(|(column, problem)| ExpressionError {
            text: self.text.to_string(),
            column,
            problem,
        })
    }

    pub(super) fn evaluate_integer(&self, scope: &Scope) -> Result<i128, ExpressionError> {
        match self.evaluate(scope)? {
            Value::Integer(value) => Ok(value),
            other @ (Value::Float(_) | Value::Boolean(_) | Value::Text(_)) => {
                Err(self.wrong_kind("an integer", &other))
            }
        }
    }

    pub(super) fn evaluate_boolean(&self, scope: &Scope) -> Result<bool, ExpressionError> {
        match self.evaluate(scope)? {
            Value::Boolean(value) => Ok(value),
            other @ (Value::Float(_) | Value::Integer(_) | Value::Text(_)) => {
                Err(self.wrong_kind("true or false", &other))
            }
        }
    }

    fn wrong_kind(&self, expected: &'static str, found: &Value) -> ExpressionError {
        let problem =
            ExpressionProblem::Expected { expected, found: format!("{} ({found})", found.kind_name()) };
        ExpressionError { text: self.text.to_string(), column: 1, problem }
    }
}

/// A range of integers, `first..end` with `end` excluded.
#[derive(Debug, Clone)]
pub(super) struct RangeExpression {
    first: Expression,
    end: Expression,
}

impl RangeExpression {
    pub(super) fn parse(text: &str) -> Result<RangeExpression, ExpressionError> {
        let mut parser = parser::Parser::new(text, 0)?;
        let (first, end) = parser.range()?;
        let text: Rc<str> = Rc::from(text);
        Ok(RangeExpression {
            first: Expression { text: text.clone(), root: Rc::new(first) },
            end: Expression { text, root: Rc::new(end) },
        })
    }

    /// The first integer and the one after the last; empty when they are equal or in the wrong order.
    pub(super) fn evaluate(&self, scope: &Scope) -> Result<std::ops::Range<i128>, ExpressionError> {
        Ok(self.first.evaluate_integer(scope)?..self.end.evaluate_integer(scope)?)
    }
}

/// A text with expressions in braces; `{{` and `}}` stand for braces.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(String),
    Expression(Expression),
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Template, ExpressionError> {
        let fail = |at: usize, problem| {
            let column = text[..at].chars().count() + 1;
            Err(ExpressionError { text: text.to_owned(), column, problem })
        };
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find(['{', '}']) {
            literal.push_str(&text[at..at + found]);
            at += found;
            let brace = &text[at..=at];
            if text[at + 1..].starts_with(brace) {
                literal.push_str(brace);
                at += 2;
                continue;
            }
            if brace == "}" {
                let problem =
                    ExpressionProblem::Expected { expected: "`}}`", found: "a single `}`".to_owned() };
                return fail(at, problem);
            }
            let Some(length) = text[at..].find('}') else {
                return fail(at, ExpressionProblem::NotClosed { opened: '{' });
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Expression(Expression::parse(&text[at + 1..at + length])?));
            at += length + 1;
        }
        literal.push_str(&text[at..]);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Template { pieces })
    }

    pub(super) fn evaluate(&self, scope: &Scope) -> Result<String, ExpressionError> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Expression(expression) => {
                    text.push_str(&expression.evaluate(scope)?.to_string());
                }
            }
        }
        Ok(text)
    }
}

/// A buffer by name, with indices when it is a member of a family, as in `tile[i, j + 1]`.
#[derive(Debug, Clone)]
pub(super) struct BufferReference {
    pub name: String,
    indices: Vec<Expression>,
}

impl BufferReference {
    pub(super) fn parse(text: &str) -> Result<BufferReference, ExpressionError> {
        let mut parser = parser::Parser::new(text, 0)?;
        let (name, indices) = parser.reference()?;
        let text: Rc<str> = Rc::from(text);
        let indices =
            indices.into_iter().map(|root| Expression { text: text.clone(), root: Rc::new(root) }).collect();
        Ok(BufferReference { name, indices })
    }

    /// The name of the buffer that is meant, as [`super::Buffer::name`] has it.
    pub(super) fn evaluate(&self, scope: &Scope) -> Result<String, ExpressionError> {
        let indices =
            self.indices.iter().map(|index| index.evaluate_integer(scope)).collect::<Result<Vec<_>, _>>()?;
        Ok(member_name(&self.name, &indices))
    }
}

/// The name of a buffer or of a member of a family.
pub(super) fn member_name(name: &str, indices: &[i128]) -> String {
    if indices.is_empty() {
        return name.to_owned();
    }
    format!("{name}[{}]", indices.iter().map(i128::to_string).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests;
