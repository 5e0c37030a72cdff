//! The JSON schema that editors use must know the same keys as the reader.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::native::{FORMAT, KEYS, VERSION};
use super::*;

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/task-graph.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn properties(schema: &Value, pointer: &str) -> BTreeSet<String> {
    let table = schema.pointer(pointer).unwrap_or_else(|| panic!("the schema has no {pointer}"));
    assert_eq!(table["additionalProperties"], Value::Bool(false), "{pointer} must refuse unknown keys");
    table["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_schema_has_the_keys_of_the_reader() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["format"]["const"], FORMAT);
    assert_eq!(schema["properties"]["version"]["const"], VERSION);
    for (pointer, keys) in ["", "/$defs/task", "/$defs/item"].into_iter().zip(KEYS) {
        let keys: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(properties(&schema, pointer), keys, "{pointer}");
    }
}

/// Leaving out what the schema calls required is refused by the reader, and nothing else is.
#[test]
fn the_schema_requires_what_the_reader_requires() {
    let schema = schema();
    let document: Value = serde_json::from_str(
        r#"{"format": "isochrone-task-graph", "version": 1, "name": "n", "device_columns": [], "extra": 1,
            "tasks": [{"name": "a", "kind": "k", "work_ns": 1, "memory_bytes": 1, "inputs": [], "outputs": [],
                       "after": [], "extra": 1}],
            "items": [{"name": "i", "size_bytes": 1, "extra": 1}]}"#,
    )
    .unwrap();
    let parts = [("", ""), ("/tasks/0", "/$defs/task"), ("/items/0", "/$defs/item")];
    for (pointer, definition) in parts {
        let required: BTreeSet<&str> = (schema.pointer(definition).unwrap()["required"].as_array().unwrap())
            .iter()
            .map(|key| key.as_str().unwrap())
            .chain((pointer == "/tasks/0").then_some("work_ns"))
            .collect();
        let keys: Vec<String> =
            document.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect();
        for key in keys {
            let mut changed = document.clone();
            changed.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(&key);
            let options = ReadOptions { format: Some(GraphFormat::Native), ..ReadOptions::default() };
            let read = parse_graph(Path::new("x.json"), &changed.to_string(), &options);
            assert_eq!(read.is_err(), required.contains(key.as_str()), "{pointer}/{key}");
        }
    }
}

#[test]
fn the_samples_in_json_have_only_keys_of_the_schema() {
    let schema = schema();
    for name in ["topcuoglu-2002.json", "peft-2014.json"] {
        let document: Value = serde_json::from_str(&std::fs::read_to_string(sample(name)).unwrap()).unwrap();
        let within = |value: &Value, pointer: &str| {
            let known = properties(&schema, pointer);
            for key in value.as_object().unwrap().keys() {
                assert!(known.contains(key), "{name}: {key}");
            }
        };
        within(&document, "");
        document["tasks"].as_array().unwrap().iter().for_each(|task| within(task, "/$defs/task"));
        document["items"].as_array().unwrap().iter().for_each(|item| within(item, "/$defs/item"));
    }
}
