//! Settings that do not fit, files that cannot be read, and limits.

use super::*;

#[test]
fn settings_that_do_not_fit() {
    let text = with_head(
        r#"
[parameters.real]
choose = [{ value = "double", when = "fp64" }, { value = "float" }]
[[steps]]
marker = true
"#,
    );
    let mut settings = Settings::default();
    for (name, value) in [("reel", "1"), ("n", "many"), ("real", "half")] {
        settings.parameters.insert(name.to_owned(), value.to_owned());
    }
    let expected = "\
g.toml: parameters.reel: `reel` was set, but the graph has no such parameter; did you mean `real`?
g.toml:4: parameters.n: the value `many` set for it is not an integer
g.toml:12: parameters.real: the value `half` set for it is not one of `double`, `float`";
    assert_eq!(Folder::new().errors(&text, &settings), expected);
}

#[test]
fn a_file_that_cannot_be_read_at_all() {
    let folder = Folder::new();
    let missing = GraphFile::load(&folder.path("none.toml"), &Settings::default()).unwrap_err();
    assert!(missing.to_string().ends_with("none.toml`: No such file or directory (os error 2)"), "{missing}");
    write_atomically(&folder.path("g.toml"), b"\xff").unwrap();
    let not_text = GraphFile::load(&folder.path("g.toml"), &Settings::default()).unwrap_err();
    assert!(
        not_text.to_string().ends_with("the text of the file is not UTF-8; save it as UTF-8"),
        "{not_text}"
    );
    let limits = Limits { graph_file_bytes_max: 0, ..Limits::default() };
    let too_large =
        GraphFile::load(&folder.path("g.toml"), &Settings { limits, ..Settings::default() }).unwrap_err();
    assert!(too_large.to_string().ends_with("is larger than the limit of 0 bytes"), "{too_large}");
}

#[test]
fn limits_end_runaway_loops() {
    let folder = Folder::new();
    let text = with_head(
        r#"
[data.m]
file = "m.npy"
[buffers.tile]
for = "i"
in = "0..3"
data = "m"
[[steps]]
for = ["i", "j"]
in = ["0..1000000000", "0..0"]
marker = true
[[steps]]
for = "i"
in = "0..5"
marker = true
label = "m({i})"
after = "m(0)"
[outputs.x]
for = "i"
in = "0..3"
buffer = "x"
file = "x"
"#,
    );
    let refused = |change: &dyn Fn(&mut Limits)| {
        let mut settings = Settings::default();
        settings.limits.iterations_max = 1_000;
        change(&mut settings.limits);
        folder.errors(&text, &settings)
    };
    assert_eq!(refused(&|_| {}), "g.toml:20: steps[0].in[0]: too many turns of loops: at most 1000");
    assert_eq!(
        refused(&|limits| limits.buffers_max = 4),
        "g.toml:14: buffers.tile: too many buffers: at most 4 (with i = 2)"
    );
    assert_eq!(
        refused(&|limits| limits.content_bytes_max = 400),
        "g.toml:14: buffers.tile: too many bytes of buffer contents: at most 400 (with i = 2)"
    );
    assert_eq!(
        refused(&|limits| limits.data_file_bytes_max = 100),
        "g.toml:13: data.m.file: `m.npy` is larger than the limit of 100 bytes"
    );
    let finite = text.replace("0..1000000000", "0..1");
    let refused = |change: &dyn Fn(&mut Limits)| {
        let mut settings = Settings::default();
        change(&mut settings.limits);
        folder.errors(&finite, &settings)
    };
    assert_eq!(
        refused(&|limits| limits.commands_max = 3),
        "g.toml:22: steps[1]: too many commands: at most 3 (with i = 3)"
    );
    assert_eq!(
        refused(&|limits| limits.dependencies_max = 2),
        "g.toml:27: steps[1].after: too many entries in `after`: at most 2 (with i = 2)"
    );
    assert_eq!(
        refused(&|limits| limits.output_parts_max = 2),
        "g.toml:28: outputs.x: too many parts of outputs: at most 2 (with i = 2)"
    );
    assert_eq!(
        refused(&|limits| limits.output_bytes_max = 2048),
        "g.toml:28: outputs.x: too many bytes in one output: at most 2048"
    );
}

#[test]
fn at_most_fifty_errors_are_listed() {
    let mut text = with_head("");
    for index in 0..60 {
        text.push_str(&format!("[[steps]]\nmark{index} = true\n"));
    }
    let errors = Folder::new().load(&text, &Settings::default()).unwrap_err();
    assert_eq!((errors.errors.len(), errors.further), (50, 70));
    assert!(errors.to_string().ends_with("\nand 70 more"));
}
