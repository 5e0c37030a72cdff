//! What people read when a graph file is wrong, word for word.

use super::*;

/// Asserts the errors of a graph file, one a line.
#[track_caller]
fn assert_errors(text: &str, expected: &str) {
    assert_eq!(Folder::new().errors(text, &Settings::default()), expected.trim());
}

#[test]
fn toml_syntax() {
    assert_errors(
        r#"[graph
name = 3
x =
"#,
        r#"
g.toml:1: not valid TOML: unclosed table, expected `]`
"#,
    );
}

#[test]
fn empty_file() {
    assert_errors(
        r#""#,
        r#"
g.toml:1: graph: key `graph` is missing; start the file with [graph] and a name
g.toml:1: steps: key `steps` is missing; add at least one [[steps]]
"#,
    );
}

#[test]
fn unknown_section() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[buffer.x]
size = 3
"#,
        ),
        r#"
g.toml:13: buffer: unknown key `buffer`; did you mean `buffers`?
"#,
    );
}

#[test]
fn unknown_key_near() {
    assert_errors(
        &with_head(
            r#"[[steps]]
launch = "k"
gobal = [1]
"#,
        ),
        r#"
g.toml:11: steps[0].global: key `global` is missing; give the work-items of each dimension, as in global = [1024]
g.toml:13: steps[0].gobal: unknown key `gobal`; did you mean `global`?
"#,
    );
}

#[test]
fn unknown_key_far() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[buffers.z]
size = 4
zzzzzz = 1
"#,
        ),
        r#"
g.toml:15: buffers.z.zzzzzz: unknown key `zzzzzz`; known here: for, in, let, if, file, format, data, slice, dtype, shape, size
"#,
    );
}

#[test]
fn missing_keys() {
    assert_errors(
        r#"[graph]
[programs.k]
options = ""
[outputs.o]
dtype = "float"
[[steps]]
marker = true
"#,
        r#"
g.toml:1: graph.name: key `name` is missing; give the graph a short name
g.toml:2: programs.k.file: key `file` is missing; name the .cl file, relative to the folder of the graph file
g.toml:4: outputs.o.file: key `file` is missing; name the file to write
g.toml:4: outputs.o.buffer: key `buffer` is missing; name the buffer to read back
"#,
    );
}

#[test]
fn wrong_types() {
    assert_errors(
        r#"graph = 3
buffers = []
steps = {}
"#,
        r#"
g.toml:1: graph: expected a table, found an integer
g.toml:2: buffers: expected a table, found a list
g.toml:3: steps: expected a list of steps ([[steps]]), found a table
"#,
    );
}

#[test]
fn two_kinds() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
barrier = true
[[steps]]
label = "x"
"#,
        ),
        r#"
g.toml:11: steps[0]: exactly one of `launch`, `copy`, `fill`, `barrier`, `marker`, `steps` must be given, found `barrier`, `marker`
g.toml:14: steps[1]: exactly one of `launch`, `copy`, `fill`, `barrier`, `marker`, `steps` must be given, found none
"#,
    );
}

#[test]
fn foreign_keys() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
global = [1]
[[steps]]
label = "x"
[[steps.steps]]
marker = 1
"#,
        ),
        r#"
g.toml:13: steps[0].global: key `global` does not go with `marker`; remove one of them
g.toml:15: steps[1].label: key `label` does not go with `steps`; remove one of them
g.toml:17: steps[1].steps[0].marker: expected true, found an integer
"#,
    );
}

#[test]
fn bad_names() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[buffers.a-b]
size = 4
[values]
"1x" = 3
"#,
        ),
        r#"
g.toml:13: buffers.a-b: `a-b` is not a usable name; use letters, digits and underscores, with no digit first
g.toml:16: values.1x: `1x` is not a usable name; use letters, digits and underscores, with no digit first
"#,
    );
}

#[test]
fn missing_files() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[data.d]
file = "none.npy"
[programs.p]
file = "none.cl"
[buffers.b]
file = "."
"#,
        ),
        r#"
g.toml:14: data.d.file: cannot read `none.npy`: No such file or directory (os error 2)
g.toml:16: programs.p.file: cannot read `none.cl`: No such file or directory (os error 2)
g.toml:18: buffers.b.file: `.` is a folder, not a file
"#,
    );
}

#[test]
fn unusable_files() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[data.d]
file = "k.cl"
format = "npy"
[data.e]
file = "m.npy"
format = "png"
[programs.p]
file = "latin1.cl"
[data.r]
file = "r.raw"
dtype = "int"
shape = [4]
[data.f]
file = "m.npy"
dtype = "int"
[data.g]
file = "m.npy"
dtype = "flaot"
shape = [24]
"#,
        ),
        r#"
g.toml:14: data.d.file: `k.cl` is not a readable .npy file: it does not start with the .npy signature
g.toml:17: data.e.file: `m.npy` is not a readable PNG file: Invalid PNG signature.
g.toml:20: programs.p.file: `latin1.cl` is not UTF-8 text
g.toml:24: data.r.shape: the file holds 12 bytes, but its shape and type ask for 16
g.toml:27: data.f.dtype: double does not convert to int; convert the file, or use a float type
g.toml:30: data.g.dtype: `flaot` is not one of `char`, `uchar`, `short`, `ushort`, `int`, `uint`, `long`, `ulong`, `float`, `double`; did you mean `float`?
"#,
    );
}

#[test]
fn unknown_words() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[data.d]
file = "m.npy"
format = "pgn"
[buffers.b]
shape = [1]
dtype = "half"
[graph2]
"#,
        ),
        r#"
g.toml:15: data.d.format: `pgn` is not one of `npy`, `png`, `raw`; did you mean `png`?
g.toml:19: graph2: unknown key `graph2`; did you mean `graph`?
"#,
    );
}

#[test]
fn bad_word_dtype() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[buffers.b]
shape = [1]
dtype = "half"
"#,
        ),
        r#"
g.toml:15: buffers.b.dtype: `half` is not one of `char`, `uchar`, `short`, `ushort`, `int`, `uint`, `long`, `ulong`, `float`, `double`
"#,
    );
}

#[test]
fn expressions() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[values]
a = "1 +"
b = "n / (4 - 4)"
[buffers.b]
size = "n * nn"
"#,
        ),
        r#"
g.toml:14: values.a: in `1 +` at column 4: expected a number, a name or `(`, found the end
"#,
    );
}

#[test]
fn values_at_work() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[values]
b = "n / (n - 4)"
n = 3
c = "tils"
"#,
        ),
        r#"
g.toml:14: values.b: in `n / (n - 4)` at column 3: division by zero
g.toml:15: values.n: the name `n` is already in use by a parameter; choose another
g.toml:16: values.c: in `tils` at column 1: there is no value `tils`
"#,
    );
}

#[test]
fn sizes() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[buffers.a]
size = -1
[buffers.b]
size = 0
[buffers.c]
size = "2 * 1024 * 1024 * 1024 * 1024"
[buffers.d]
size = "1.5"
[buffers.e]
[buffers.f]
size = 1
shape = [2]
[buffers.g]
size = 1
dtype = "int"
"#,
        ),
        r#"
g.toml:21: buffers.e: exactly one of `file`, `data`, `size`, `shape` must be given, found none
g.toml:22: buffers.f: exactly one of `file`, `data`, `size`, `shape` must be given, found `size`, `shape`
g.toml:27: buffers.g.dtype: key `dtype` does not go with `size`; remove one of them
"#,
    );
}

#[test]
fn sizes_at_work() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[buffers.a]
size = -1
[buffers.b]
size = 0
[buffers.c]
size = "2 * 1024 * 1024 * 1024 * 1024"
[buffers.d]
size = "1.5"
[buffers.s]
file = "m.npy"
slice = [[3, 2]]
[buffers.t]
data = "mm"
"#,
        ),
        r#"
g.toml:14: buffers.a.size: the value -1 is out of range: it must be an integer from 0 to 18446744073709551615
g.toml:15: buffers.b: the buffer is empty; give at least one byte
g.toml:17: buffers.c: the value 2199023255552 is out of range: no buffer may be so large
g.toml:20: buffers.d.size: in `1.5` at column 1: expected an integer, found a float (1.5)
g.toml:23: buffers.s.slice[0][0]: the slice takes 2 from 3 on in dimension 0, which has only 4
g.toml:25: buffers.t.data: there is no data `mm`
"#,
    );
}

#[test]
fn unknown_buffer() {
    assert_errors(
        &with_head(
            r#"[[steps]]
for = "i"
in = "0..3"
launch = "k"
global = [1]
arguments = ["tile[i]", "z", { buffer = "tile" }]
[buffers.tile]
for = "i"
in = "0..2"
size = 4
"#,
        ),
        r#"
g.toml:16: steps[0].arguments[1]: there is no buffer `z` (with i = 0)
g.toml:16: steps[0].arguments[2].buffer: there is no buffer `tile`; did you mean `tile[0]`? (with i = 0)
g.toml:16: steps[0].arguments[0]: there is no buffer `tile[2]`; did you mean `tile[0]`? (with i = 2)
"#,
    );
}

#[test]
fn unknown_program() {
    assert_errors(
        &with_head(
            r#"[[steps]]
launch = "k"
program = "kk"
global = [1]
"#,
        ),
        r#"
g.toml:13: steps[0].program: there is no program `kk`
"#,
    );
}

#[test]
fn index_space() {
    assert_errors(
        &with_head(
            r#"[[steps]]
launch = "k"
global = [1000]
local = [256]
[[steps]]
launch = "k"
global = [1, 2, 3, 4]
[[steps]]
launch = "k"
global = [1]
local = [1, 1]
[[steps]]
launch = "k"
global = ["n - 4"]
"#,
        ),
        r#"
g.toml:14: steps[0].local[0]: the global size 1000 is not a multiple of the local size 256; use round_up(1000, 256) and let the kernel skip the rest
g.toml:17: steps[1].global: expected 1 to 3 dimensions, found 4
g.toml:21: steps[2].local: expected as many dimensions as `global` has (1), found 2
g.toml:24: steps[3].global[0]: the value 0 is out of range: every dimension needs at least 1 work-item (skip empty launches with `if`)
"#,
    );
}

#[test]
fn arguments() {
    assert_errors(
        &with_head(
            r#"[[steps]]
launch = "k"
global = [1]
arguments = [3, { itn = 3 }, { int = 3, buffr = 2 }, { type = "int" }, { }, { buffer = "x", access = "rw" }]
"#,
        ),
        r#"
g.toml:14: steps[0].arguments[0]: expected the name of a buffer, { TYPE = value } or { local = bytes }, found an integer
g.toml:14: steps[0].arguments[1].itn: unknown key `itn`; did you mean `int`?
g.toml:14: steps[0].arguments[2].buffr: unknown key `buffr`; did you mean `buffer`?
g.toml:14: steps[0].arguments[3].value: key `value` is missing; give the value beside the type
g.toml:14: steps[0].arguments[4]: exactly one of `buffer`, `local`, `type`, `int`, `uint`, `long`, `float`, `double` must be given, found none
g.toml:14: steps[0].arguments[5].access: `rw` is not one of `read`, `write`, `read-write`
"#,
    );
}

#[test]
fn argument_values() {
    assert_errors(
        &with_head(
            r#"[[steps]]
launch = "k"
global = [1]
arguments = [{ uchar = 256 }, { int = 1.5 }, { float2 = [1] }, { int = [1, 2] }, { float = 1e300 }, { local = 0 }, { type = "flaot", value = 1 }, { buffer = "x", offset = 1000, size = 100 }, { buffer = "x", offset = 512, touches = [0, 4] }, { buffer = "x", touches = [1020, 8] }]
"#,
        ),
        r#"
g.toml:14: steps[0].arguments[0].uchar: 256 does not fit in uchar
g.toml:14: steps[0].arguments[1].int: 1.5 does not fit in int
g.toml:14: steps[0].arguments[2].float2: expected a list of 2 numbers, found 1
g.toml:14: steps[0].arguments[3].int: expected a single number, found 2
g.toml:14: steps[0].arguments[4].float: 1e300 does not fit in float
g.toml:14: steps[0].arguments[5]: the local memory is empty; give at least one byte
g.toml:14: steps[0].arguments[6].type: `flaot` is not one of `char`, `uchar`, `short`, `ushort`, `int`, `uint`, `long`, `ulong`, `float`, `double`; did you mean `float`?
g.toml:14: steps[0].arguments[7]: bytes 1000 to 1000 + 100 do not lie in buffer `x`, which is 1024 bytes long
g.toml:14: steps[0].arguments[8].touches: `touches` reaches outside of the part of `x` that is bound
g.toml:14: steps[0].arguments[9].touches: bytes 1020 to 1020 + 8 do not lie in buffer `x`, which is 1024 bytes long
"#,
    );
}

#[test]
fn copies_and_fills() {
    assert_errors(
        &with_head(
            r#"[[steps]]
copy = { from = "x", to = "y", to_offset = 1000 }
[[steps]]
copy = { from = "x", to = "x", to_offset = 4, size = 8 }
[[steps]]
fill = { buffer = "x", uint = 0, size = 6 }
[[steps]]
fill = { buffer = "x", uint = 0, offset = 2, size = 4 }
[[steps]]
fill = { buffer = "x", uint = 0, siz = 8 }
[[steps]]
copy = { from = "x" }
"#,
        ),
        r#"
g.toml:20: steps[4].fill.siz: unknown key `siz`; did you mean `size`?
g.toml:22: steps[5].copy.to: key `to` is missing; name the buffer to write
"#,
    );
}

#[test]
fn copies_and_fills_at_work() {
    assert_errors(
        &with_head(
            r#"[[steps]]
copy = { from = "x", to = "y", to_offset = 1000 }
[[steps]]
copy = { from = "x", to = "x", to_offset = 4, size = 8 }
[[steps]]
fill = { buffer = "x", uint = 0, size = 6 }
[[steps]]
fill = { buffer = "x", uint = 0, offset = 2, size = 4 }
"#,
        ),
        r#"
g.toml:12: steps[0].copy: bytes 1000 to 1000 + 1024 do not lie in buffer `y`, which is 1024 bytes long
g.toml:14: steps[1].copy: source and target of the copy overlap
g.toml:16: steps[2].fill: the size 6 is not a multiple of the 4 bytes of the pattern
g.toml:18: steps[3].fill: the offset 2 is not a multiple of the 4 bytes of the pattern
"#,
    );
}

#[test]
fn labels() {
    assert_errors(
        &with_head(
            r#"[[steps]]
for = "i"
in = "0..2"
marker = true
label = "same"
"#,
        ),
        r#"
g.toml:15: steps[0].label: the label `same` is already used in line 11; labels must be unique (put loop variables into them) (with i = 1)
"#,
    );
}

#[test]
fn unknown_label() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
label = "first"
[[steps]]
for = "i"
in = "0..2"
marker = true
label = "m({i})"
after = ["frist"]
"#,
        ),
        r#"
g.toml:19: steps[1].after[0]: there is no command labelled `frist`; did you mean `first`? (with label = m(0))
"#,
    );
}

#[test]
fn cycle() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
label = "lead"
after = "c"
[[steps]]
marker = true
label = "a"
after = "b"
[[steps]]
marker = true
label = "b"
after = "c"
[[steps]]
marker = true
label = "c"
after = ["a"]
"#,
        ),
        r#"
g.toml:23: steps[3]: these commands wait for each other through `after`: c -> a -> b -> c
"#,
    );
}

#[test]
fn self_cycle() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
label = "a"
after = "a"
"#,
        ),
        r#"
g.toml:11: steps[0]: these commands wait for each other through `after`: a -> a
"#,
    );
}

#[test]
fn loops() {
    assert_errors(
        &with_head(
            r#"[[steps]]
for = "i"
marker = true
[[steps]]
for = ["i", "j"]
in = "0..2"
marker = true
[[steps]]
for = "i"
in = "2"
marker = true
"#,
        ),
        r#"
g.toml:11: steps[0].in: key `in` is missing; give its range, as in in = "0..n"
g.toml:16: steps[1].in: expected one range for each of the 2 variables of `for`, found 1
g.toml:20: steps[2].in: in `2` at column 2: expected `..`, as in 0..n, found the end
"#,
    );
}

#[test]
fn taken_names() {
    assert_errors(
        &with_head(
            r#"[[steps]]
for = "n"
in = "0..2"
marker = true
[[steps]]
for = "i"
in = "0..2"
[[steps.steps]]
let = { i = 3 }
marker = true
"#,
        ),
        r#"
g.toml:13: steps[0].in: the name `n` is already in use by another value; choose another
g.toml:19: steps[1].steps[0].let.i: the name `i` is already in use by another value; choose another (with i = 0)
"#,
    );
}

#[test]
fn outputs() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[outputs.a]
buffer = "x"
dtype = "float"
shape = [10]
file = "a.npy"
[outputs.b]
buffer = "x"
width = 0
height = 3
channels = 5
file = "b.png"
[outputs.c]
buffer = "x"
file = "c.bin"
[outputs.d]
buffer = "y"
file = "c.bin"
[outputs.e]
buffer = "x"
dtype = "float"
shape = [16, 16]
at = [1, 0]
file = "e.npy"
[outputs.f]
buffer = "x"
dtype = "float"
shape = [16, 16]
at = [0]
file = "f.npy"
[outputs.g]
for = "i"
in = "0..0"
buffer = "x"
file = "g"
"#,
        ),
        r#"
g.toml:14: outputs.a.buffer: the part has 40 bytes, but the range of the buffer 1024
g.toml:20: outputs.b.width: the value 0 is out of range: an image is 1 to 2147483647 pixels wide and high
g.toml:22: outputs.b.channels: the value 5 is out of range: an image has 1 to 4 channels
g.toml:29: outputs.d.file: another output writes `c.bin` too
g.toml:34: outputs.e.at: the part takes 16 from 1 on in dimension 0 of the output, which has only 16
g.toml:40: outputs.f.at: expected 2 numbers, one for each dimension of the output, found 1
g.toml:42: outputs.g: the output is empty; give at least one byte
"#,
    );
}

#[test]
fn output_keys() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[outputs.a]
buffer = "x"
width = 1
file = "a.npy"
[outputs.b]
buffer = "x"
file = "b.png"
[outputs.c]
buffer = "x"
file = "c.bin"
at = [0]
"#,
        ),
        r#"
g.toml:13: outputs.a.dtype: key `dtype` is missing; name the type of one element, as in dtype = "float"
g.toml:15: outputs.a.width: key `width` does not go with `format = "npy"`; remove one of them
g.toml:17: outputs.b.width: key `width` is missing; give the width of the image in pixels
g.toml:17: outputs.b.height: key `height` is missing; give the height of the image in pixels
"#,
    );
}

#[test]
fn header() {
    assert_errors(
        r#"[graph]
name = "g"
verify = "choleski"
require = ["1 == 2", { check = "n > 4", message = "n is {n}" }, 3]
[parameters]
n = 3
[[steps]]
marker = true
"#,
        r#"
g.toml:4: graph.require[0]: requirement not met: `1 == 2` does not hold
g.toml:4: graph.require[1].check: requirement not met: n is 3
g.toml:4: graph.require[2]: in `3` at column 1: expected true or false, found an integer (3)
"#,
    );
}

#[test]
fn verify() {
    assert_errors(
        r#"[graph]
name = "g"
verify = "choleski"
[[steps]]
marker = true
"#,
        r#"
g.toml:3: graph.verify: `choleski` is not one of `vector-add`, `cholesky`, `image-pipeline`; did you mean `cholesky`?
"#,
    );
}

#[test]
fn no_choice() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[parameters.real]
choose = [{ value = "double", when = "fp64" }]
[parameters.date]
"#,
        ),
        r#"
g.toml:15: parameters.date.choose: key `choose` is missing; list the alternatives: choose = [{ value = ... }]
"#,
    );
}

#[test]
fn no_choice_applies() {
    assert_errors(
        &with_head(
            r#"[[steps]]
marker = true
[parameters.real]
choose = [{ value = "double", when = "fp64" }]
"#,
        ),
        r#"
g.toml:13: parameters.real: no alternative applies: the farm offers no capabilities; add one without `when` at the end
"#,
    );
}

#[test]
fn deep_steps() {
    assert_errors(
        &with_head(
            r#"[[steps]]
steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [{ steps = [] }] }] }] }] }] }] }] }] }] }] }] }] }] }] }] }] }] }] }] }]
"#,
        ),
        r#"
g.toml:12: steps[0].steps[0].steps[0].steps[0].steps[0].steps[0].steps[0].steps[0].steps[0].steps[0].steps[0].steps[0].steps[0].steps[0].steps[0].steps[0].steps: too many levels of steps within steps: at most 16
"#,
    );
}
