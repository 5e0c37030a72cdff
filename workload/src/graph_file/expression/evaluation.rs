//! Computes expressions. Must never hold their syntax.

use super::{BinaryOperator, ExpressionProblem, Function, Scope, Term, UnaryOperator, Value};
use crate::data_files::ElementType;

/// What went wrong, and the column where.
type Failure = (usize, ExpressionProblem);

/// Computes a term. The recursion is bounded by the depth that the parser allows.
pub(super) fn evaluate(term: &Term, scope: &Scope) -> Result<Value, Failure> {
    match term {
        Term::Literal(value) => Ok(value.clone()),
        Term::Name { name, column } => scope.look_up(name).cloned().ok_or_else(|| {
            (
                *column,
                ExpressionProblem::UnknownName { name: name.to_string(), suggestion: scope.suggest(name) },
            )
        }),
        Term::Unary { operator, operand, column } => unary(*operator, &evaluate(operand, scope)?, *column),
        Term::Binary {
            operator: operator @ (BinaryOperator::Or | BinaryOperator::And),
            left,
            right,
            column,
        } => {
            let decided = *operator == BinaryOperator::Or;
            if boolean(&evaluate(left, scope)?, operator.symbol(), *column)? == decided {
                return Ok(Value::Boolean(decided));
            }
            boolean(&evaluate(right, scope)?, operator.symbol(), *column).map(Value::Boolean)
        }
        Term::Binary { operator, left, right, column } => {
            binary(*operator, &evaluate(left, scope)?, &evaluate(right, scope)?, *column)
        }
        Term::Call { function: Function::If, arguments, column } => {
            let condition = boolean(&evaluate(&arguments[0], scope)?, "if", *column)?;
            evaluate(&arguments[if condition { 1 } else { 2 }], scope)
        }
        Term::Call { function, arguments, column } => {
            let values =
                arguments.iter().map(|argument| evaluate(argument, scope)).collect::<Result<Vec<_>, _>>()?;
            call(*function, &values, *column)
        }
    }
}

fn boolean(value: &Value, operation: &'static str, column: usize) -> Result<bool, Failure> {
    match value {
        Value::Boolean(value) => Ok(*value),
        other @ (Value::Integer(_) | Value::Float(_) | Value::Text(_)) => Err((
            column,
            ExpressionProblem::Kind { operation, expected: "true or false", found: other.kind_name() },
        )),
    }
}

fn unary(operator: UnaryOperator, operand: &Value, column: usize) -> Result<Value, Failure> {
    match (operator, operand) {
        (UnaryOperator::Not, value) => boolean(value, "!", column).map(|value| Value::Boolean(!value)),
        (UnaryOperator::Negate, Value::Integer(value)) => {
            value.checked_neg().map(Value::Integer).ok_or((column, ExpressionProblem::Overflow))
        }
        (UnaryOperator::Negate, Value::Float(value)) => Ok(Value::Float(-value)),
        (UnaryOperator::Negate, other @ (Value::Boolean(_) | Value::Text(_))) => Err((
            column,
            ExpressionProblem::Kind { operation: "-", expected: "a number", found: other.kind_name() },
        )),
    }
}

fn binary(operator: BinaryOperator, left: &Value, right: &Value, column: usize) -> Result<Value, Failure> {
    let symbol = operator.symbol();
    match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => {
            integers(operator, *left, *right).map_err(|problem| (column, problem))
        }
        (Value::Text(left), Value::Text(right)) if operator == BinaryOperator::Equal => {
            Ok(Value::Boolean(left == right))
        }
        (Value::Text(left), Value::Text(right)) if operator == BinaryOperator::NotEqual => {
            Ok(Value::Boolean(left != right))
        }
        (Value::Boolean(left), Value::Boolean(right)) if operator == BinaryOperator::Equal => {
            Ok(Value::Boolean(left == right))
        }
        (Value::Boolean(left), Value::Boolean(right)) if operator == BinaryOperator::NotEqual => {
            Ok(Value::Boolean(left != right))
        }
        (left, right) => {
            let left = number(left, symbol, column)?;
            let right = number(right, symbol, column)?;
            floats(operator, left, right).map_err(|problem| (column, problem))
        }
    }
}

fn number(value: &Value, operation: &'static str, column: usize) -> Result<f64, Failure> {
    match value {
        Value::Integer(value) => Ok(*value as f64),
        Value::Float(value) => Ok(*value),
        other @ (Value::Boolean(_) | Value::Text(_)) => Err((
            column,
            ExpressionProblem::Kind { operation, expected: "numbers", found: other.kind_name() },
        )),
    }
}

fn integers(operator: BinaryOperator, left: i128, right: i128) -> Result<Value, ExpressionProblem> {
    let divides = matches!(operator, BinaryOperator::Divide | BinaryOperator::Remainder);
    if divides && right == 0 {
        return Err(ExpressionProblem::DivisionByZero);
    }
    let result = match operator {
        BinaryOperator::Equal => return Ok(Value::Boolean(left == right)),
        BinaryOperator::NotEqual => return Ok(Value::Boolean(left != right)),
        BinaryOperator::Less => return Ok(Value::Boolean(left < right)),
        BinaryOperator::LessOrEqual => return Ok(Value::Boolean(left <= right)),
        BinaryOperator::Greater => return Ok(Value::Boolean(left > right)),
        BinaryOperator::GreaterOrEqual => return Ok(Value::Boolean(left >= right)),
        BinaryOperator::Or | BinaryOperator::And => return Err(not_boolean(operator)),
        BinaryOperator::Add => left.checked_add(right),
        BinaryOperator::Subtract => left.checked_sub(right),
        BinaryOperator::Multiply => left.checked_mul(right),
        BinaryOperator::Divide => left.checked_div(right),
        BinaryOperator::Remainder => left.checked_rem(right),
    };
    result.map(Value::Integer).ok_or(ExpressionProblem::Overflow)
}

fn floats(operator: BinaryOperator, left: f64, right: f64) -> Result<Value, ExpressionProblem> {
    let divides = matches!(operator, BinaryOperator::Divide | BinaryOperator::Remainder);
    if divides && right == 0.0 {
        return Err(ExpressionProblem::DivisionByZero);
    }
    let result = match operator {
        BinaryOperator::Equal => return Ok(Value::Boolean(left == right)),
        BinaryOperator::NotEqual => return Ok(Value::Boolean(left != right)),
        BinaryOperator::Less => return Ok(Value::Boolean(left < right)),
        BinaryOperator::LessOrEqual => return Ok(Value::Boolean(left <= right)),
        BinaryOperator::Greater => return Ok(Value::Boolean(left > right)),
        BinaryOperator::GreaterOrEqual => return Ok(Value::Boolean(left >= right)),
        BinaryOperator::Or | BinaryOperator::And => return Err(not_boolean(operator)),
        BinaryOperator::Add => left + right,
        BinaryOperator::Subtract => left - right,
        BinaryOperator::Multiply => left * right,
        BinaryOperator::Divide => left / right,
        BinaryOperator::Remainder => left % right,
    };
    if result.is_finite() { Ok(Value::Float(result)) } else { Err(ExpressionProblem::Overflow) }
}

fn not_boolean(operator: BinaryOperator) -> ExpressionProblem {
    ExpressionProblem::Kind { operation: operator.symbol(), expected: "true or false", found: "a number" }
}

fn call(function: Function, values: &[Value], column: usize) -> Result<Value, Failure> {
    let operation = function.name();
    match function {
        Function::Min | Function::Max => {
            let mut best = values[0].clone();
            number(&best, operation, column)?;
            for value in &values[1..] {
                number(value, operation, column)?;
                let operator =
                    if function == Function::Min { BinaryOperator::Less } else { BinaryOperator::Greater };
                if binary(operator, value, &best, column)? == Value::Boolean(true) {
                    best = value.clone();
                }
            }
            Ok(best)
        }
        Function::CeilDiv | Function::RoundUp => divide_up(function, values, column),
        Function::SizeOf => {
            let Value::Text(name) = &values[0] else {
                let found = values[0].kind_name();
                let expected = "the name of a type, as in size_of('float')";
                return Err((column, ExpressionProblem::Kind { operation, expected, found }));
            };
            ElementType::from_name(name)
                .map(|element_type| Value::Integer(i128::from(element_type.size_bytes())))
                .ok_or_else(|| (column, ExpressionProblem::UnknownType { name: name.to_string() }))
        }
        Function::If => Ok(values[if values[0] == Value::Boolean(true) { 1 } else { 2 }].clone()),
    }
}

/// `ceil_div` and `round_up`.
fn divide_up(function: Function, values: &[Value], column: usize) -> Result<Value, Failure> {
    let operation = function.name();
    let [Value::Integer(value), Value::Integer(step)] = values else {
        let found = values.iter().find(|value| !matches!(value, Value::Integer(_)));
        let found = found.map_or("an integer", Value::kind_name);
        return Err((column, ExpressionProblem::Kind { operation, expected: "integers", found }));
    };
    if *step == 0 {
        return Err((column, ExpressionProblem::DivisionByZero));
    }
    let overflow = (column, ExpressionProblem::Overflow);
    let up = i128::from(value.checked_rem(*step).is_some_and(|rest| rest != 0 && (rest < 0) == (*step < 0)));
    let quotient = value.checked_div(*step).and_then(|quotient| quotient.checked_add(up));
    let result = match function {
        Function::RoundUp => quotient.and_then(|quotient| quotient.checked_mul(*step)),
        Function::CeilDiv | Function::Min | Function::Max | Function::SizeOf | Function::If => quotient,
    };
    result.map(Value::Integer).ok_or(overflow)
}
