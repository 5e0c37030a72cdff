//! The JSON schema that editors use must know the same keys as the checker.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::super::syntax::keys;

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graphs/graph-file.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn properties(schema: &Value, pointer: &str) -> BTreeSet<String> {
    let table = schema.pointer(pointer).unwrap_or_else(|| panic!("the schema has no {pointer}"));
    assert_eq!(table["additionalProperties"], Value::Bool(false), "{pointer} must refuse unknown keys");
    table["properties"].as_object().unwrap().keys().cloned().collect()
}

fn names(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

#[test]
fn the_schema_has_the_keys_of_the_checker() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(properties(&schema, ""), names(keys::DOCUMENT));
    let tables: [(&str, &[&str]); 11] = [
        ("graph", keys::GRAPH),
        ("requirement", keys::REQUIREMENT),
        ("choice", keys::CHOICE),
        ("conditionalParameter", keys::PARAMETER),
        ("data", keys::DATA),
        ("program", keys::PROGRAM),
        ("buffer", keys::BUFFER),
        ("step", keys::STEP),
        ("copy", keys::COPY),
        ("bufferArgument", keys::BUFFER_ARGUMENT),
        ("output", keys::OUTPUT),
    ];
    for (name, keys) in tables {
        assert_eq!(properties(&schema, &format!("/$defs/{name}")), names(keys), "{name}");
    }
}

#[test]
fn the_schema_has_the_scalar_types_of_the_checker() {
    let schema = schema();
    let mut types = BTreeSet::new();
    for base in keys::SCALAR_TYPES {
        types.extend(["", "2", "3", "4", "8", "16"].map(|count| format!("{base}{count}")));
    }
    let mut fill = types.clone();
    fill.extend(names(keys::FILL));
    assert_eq!(properties(&schema, "/$defs/fill"), fill);
    let mut scalar = types;
    scalar.extend(names(keys::TYPED_SCALAR));
    assert_eq!(properties(&schema, "/$defs/scalarArgument"), scalar);
    let access: BTreeSet<String> = schema["$defs"]["bufferArgument"]["properties"]["access"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(access, names(keys::ACCESS));
    let references = schema["$defs"]["graph"]["properties"]["verify"]["enum"].as_array().unwrap();
    let references: BTreeSet<String> =
        references.iter().map(|word| word.as_str().unwrap().to_owned()).collect();
    assert_eq!(references, names(crate::reference::NAMES));
}
