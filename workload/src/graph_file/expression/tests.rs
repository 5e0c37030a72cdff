use super::*;

fn scope() -> Scope {
    let mut scope = Scope::default();
    scope.set_global("n".to_owned(), Value::Integer(10));
    scope.set_global("image.width".to_owned(), Value::Integer(640));
    scope.set_global("real".to_owned(), Value::Text(Rc::from("double")));
    scope.push(Rc::from("i"), Value::Integer(3));
    scope
}

fn compute(text: &str) -> String {
    match Expression::parse(text).and_then(|expression| expression.evaluate(&scope())) {
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn values() {
    let cases = [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 3 - 2", "5"),
        ("-7 / 2", "-3"),
        ("-n % 3", "-1"),
        ("image.width / n", "64"),
        ("min(3, i - 1, 9)", "2"),
        ("max(1, 2.5)", "2.5"),
        ("ceil_div(7, 2) + round_up(17, 16)", "36"),
        ("ceil_div(-7, 2)", "-3"),
        ("size_of(real) * size_of('float32')", "32"),
        ("real == 'double' && i < 4", "true"),
        ("i >= 4 || !(n != 10)", "true"),
        ("if(i == 0, 1 / 0, 5)", "5"),
        ("1 / 4.0", "0.25"),
        ("1e3", "1000.0"),
        ("1_000_000", "1000000"),
        ("2 < 3 == true", "true"),
    ];
    for (text, expected) in cases {
        assert_eq!(compute(text), expected, "{text}");
    }
}

#[test]
fn errors_name_the_column_and_the_remedy() {
    let cases = [
        ("1 +", "in `1 +` at column 4: expected a number, a name or `(`, found the end"),
        ("n / (i - 3)", "in `n / (i - 3)` at column 3: division by zero"),
        ("n % 0", "in `n % 0` at column 3: division by zero"),
        (
            "image.widht",
            "in `image.widht` at column 1: there is no value `image.width`".replace("width", "widht").leak(),
        ),
        ("maxx(1, 2)", "in `maxx(1, 2)` at column 1: there is no function `maxx`; did you mean `max`?"),
        ("ceil_div(1)", "in `ceil_div(1)` at column 1: `ceil_div` takes two arguments, found 1"),
        ("real + 1", "in `real + 1` at column 6: `+` needs numbers, found a text"),
        ("1 && true", "in `1 && true` at column 3: `&&` needs true or false, found an integer"),
        ("a $ b", "in `a $ b` at column 3: unexpected character `$`"),
        ("(1", "in `(1` at column 3: expected `)`, found the end"),
        ("'x", "in `'x` at column 1: `'` is not closed"),
        (
            "size_of('half')",
            "in `size_of('half')` at column 1: `half` is not a type; use an OpenCL type such as float, or a NumPy type such as float32",
        ),
        ("1 2", "in `1 2` at column 3: expected an operator or the end, found `2`"),
    ];
    for (text, expected) in cases {
        assert!(compute(text).starts_with(expected), "{text}: {}", compute(text));
    }
    assert!(compute("image.widht").ends_with("did you mean `image.width`?"));
    let maximum = i128::MAX.to_string();
    for text in [format!("{maximum} + 1"), format!("{maximum} * 2"), format!("0 - {maximum} - 2")] {
        assert!(compute(&text).ends_with("the result overflows"), "{text}");
    }
    assert!(compute(&format!("{maximum}0")).ends_with("the number is too large"));
}

#[test]
fn depth_is_bounded() {
    let nested = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(compute(&nested).ends_with("nested deeper than 64 levels"));
    let chained = vec!["1"; 100_000].join("+");
    assert!(compute(&chained).ends_with("nested deeper than 64 levels"));
    assert!(compute(&"-".repeat(100_000)).ends_with("nested deeper than 64 levels"));
    assert_eq!(compute(&vec!["1"; 60].join("+")), "60");
}

#[test]
fn ranges_templates_and_references() {
    let range = RangeExpression::parse("i+1..image.width").unwrap().evaluate(&scope()).unwrap();
    assert_eq!(range, 4..640);
    assert!(
        RangeExpression::parse("5")
            .unwrap_err()
            .to_string()
            .contains("expected `..`, as in 0..n, found the end")
    );
    let template = Template::parse("gemm({i},{i*2}) {{x}} {real}").unwrap();
    assert_eq!(template.evaluate(&scope()).unwrap(), "gemm(3,6) {x} double");
    assert!(Template::parse("a {i").unwrap_err().to_string().ends_with("`{` is not closed"));
    assert!(Template::parse("a } b").unwrap_err().to_string().ends_with("expected `}}`, found a single `}`"));
    let reference = BufferReference::parse("tile[i, n - 1]").unwrap();
    assert_eq!(reference.evaluate(&scope()).unwrap(), "tile[3,9]");
    assert!(BufferReference::parse("tile[i").is_err());
    assert!(BufferReference::parse("7").is_err());
}
