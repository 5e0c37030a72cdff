use super::*;

fn load(rest: &str) -> GraphFile {
    Folder::new().load(&with_head(rest), &Settings::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn loops_conditions_and_labels_keep_their_order() {
    let graph_file = load(
        r#"
[[steps]]
barrier = true
label = "start"
[[steps]]
for = ["i", "j"]
in = ["0..3", "0..i + 1"]
let = { twice = "2 * i", more = "twice + j" }
if = "i != 1"
[[steps.steps]]
marker = true
label = "m({i},{j},{more})"
after = "end"
[[steps.steps]]
if = "j == 2"
barrier = true
[[steps]]
marker = true
label = "end"
after = ["start", "start"]
"#,
    );
    let labels: Vec<&str> = graph_file.commands.iter().map(|command| command.label.as_str()).collect();
    assert_eq!(labels, ["start", "m(0,0,0)", "m(2,0,4)", "m(2,1,5)", "m(2,2,6)", "barrier#5", "end"]);
    let after: Vec<&[usize]> = graph_file.commands.iter().map(|command| command.after.as_slice()).collect();
    assert_eq!(after, [&[][..], &[6], &[6], &[6], &[6], &[], &[0]]);
    assert_eq!(graph_file.commands[6].line, 27);
}

#[test]
fn a_launch_has_all_it_needs() {
    let graph_file = load(
        r#"
[[steps]]
launch = "k"
global = ["round_up(100, 64)", 2]
local = [64, 1]
offset = [8, 0]
arguments = [
    "x",
    { buffer = "y", offset = 256, size = 512, access = "read", touches = [300, "n"] },
    { int = -2 },
    { uchar = 255 },
    { float = "1 / 2.0" },
    { ulong = "18446744073709551615" },
    { float3 = [1, 2, "n"] },
    { short2 = [1, -1] },
    { type = "double", value = 3 },
    { local = "n * size_of('double')" },
]
"#,
    );
    let CommandKind::Launch(launch) = &graph_file.commands[0].kind else {
        panic!("not a launch");
    };
    assert_eq!((launch.program, launch.kernel.as_str()), (0, "k"));
    assert_eq!((&launch.global[..], launch.local.as_deref()), (&[128, 2][..], Some(&[64, 1][..])));
    assert_eq!(launch.offset.as_deref(), Some(&[8, 0][..]));
    let floats = |numbers: [f32; 4]| numbers.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let expected = [
        Argument::Buffer(BufferArgument {
            buffer: 0,
            bound: ByteRange { offset_bytes: 0, size_bytes: 1024 },
            access: None,
            touches: None,
        }),
        Argument::Buffer(BufferArgument {
            buffer: 1,
            bound: ByteRange { offset_bytes: 256, size_bytes: 512 },
            access: Some(Access::Read),
            touches: Some(ByteRange { offset_bytes: 300, size_bytes: 4 }),
        }),
        Argument::Scalar((-2_i32).to_le_bytes().to_vec()),
        Argument::Scalar(vec![255]),
        Argument::Scalar(0.5_f32.to_le_bytes().to_vec()),
        Argument::Scalar(vec![255; 8]),
        Argument::Scalar(floats([1.0, 2.0, 4.0, 0.0])),
        Argument::Scalar(vec![1, 0, 255, 255]),
        Argument::Scalar(3.0_f64.to_le_bytes().to_vec()),
        Argument::Local { size_bytes: 32 },
    ];
    assert_eq!(launch.arguments, expected);
}

#[test]
fn copies_and_fills() {
    let graph_file = load(
        r#"
[[steps]]
copy = { from = "x", from_offset = 4, to = "y", to_offset = 8, size = 16 }
[[steps]]
copy = { from = "x", to = "y" }
[[steps]]
copy = { from = "x", to = "x", to_offset = 512, size = 512 }
[[steps]]
fill = { buffer = "x", uint2 = [1, 2], offset = 8, size = "2 * 8" }
[[steps]]
fill = { buffer = "x", type = "uchar", value = 7 }
"#,
    );
    let kinds: Vec<&CommandKind> = graph_file.commands.iter().map(|command| &command.kind).collect();
    let copy = |source_offset_bytes, target, target_offset_bytes, size_bytes| CommandKind::Copy {
        source: 0,
        source_offset_bytes,
        target,
        target_offset_bytes,
        size_bytes,
    };
    assert_eq!(*kinds[0], copy(4, 1, 8, 16));
    assert_eq!(*kinds[1], copy(0, 1, 0, 1024));
    assert_eq!(*kinds[2], copy(0, 0, 512, 512));
    let pattern = vec![1, 0, 0, 0, 2, 0, 0, 0];
    assert_eq!(*kinds[3], CommandKind::Fill { buffer: 0, offset_bytes: 8, size_bytes: 16, pattern });
    assert_eq!(
        *kinds[4],
        CommandKind::Fill { buffer: 0, offset_bytes: 0, size_bytes: 1024, pattern: vec![7] }
    );
}

#[test]
fn data_slices_families_and_properties() {
    let graph_file = load(
        r#"
[data.m]
file = "m.npy"
dtype = "float"
[data.words]
file = "r.raw"
dtype = "ushort"
shape = [2, 3]
[values]
half = "m.cols / 2"
pixels = "picture.width * picture.height * picture.channels"
[buffers.tile]
for = ["i", "j"]
in = ["0..2", "0..2"]
data = "m"
slice = [["2 * i", 2], ["j * half", "half"]]
[buffers.picture]
file = "p.png"
dtype = "int"
[buffers.row]
data = "words"
slice = [[1, 1]]
[buffers.empty]
shape = ["pixels", "words.rows"]
dtype = "float32"
[[steps]]
launch = "k"
global = [1]
arguments = ["tile[n - 3, 0]", { ulong = "picture.bytes" }]
[outputs.m]
for = ["i", "j"]
in = ["0..2", "0..2"]
buffer = "tile[i,j]"
at = ["2 * i", "j * half"]
part = [2, "half"]
shape = ["m.rows", "m.cols"]
dtype = "float"
file = "o/m.npy"
[outputs.flat]
for = "j"
in = "0..2"
buffer = "tile[1,j]"
offset = 4
size = 8
file = "flat.bin"
"#,
    );
    let names: Vec<&str> = graph_file.buffers.iter().map(|buffer| buffer.name.as_str()).collect();
    assert_eq!(
        names,
        ["x", "y", "tile[0,0]", "tile[0,1]", "tile[1,0]", "tile[1,1]", "picture", "row", "empty"]
    );
    let floats =
        |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(graph_file.buffers[5].content, Some(floats(&[15.0, 16.0, 17.0, 21.0, 22.0, 23.0])));
    assert_eq!(graph_file.buffers[6].size_bytes, 60);
    assert_eq!(graph_file.buffers[7].content, Some(vec![7, 8, 9, 10, 11, 12]));
    assert_eq!((graph_file.buffers[8].size_bytes, &graph_file.buffers[8].content), (15 * 2 * 4, &None));
    let CommandKind::Launch(launch) = &graph_file.commands[0].kind else {
        panic!("not a launch");
    };
    assert!(matches!(&launch.arguments[0], Argument::Buffer(argument) if argument.buffer == 4));
    assert_eq!(launch.arguments[1], Argument::Scalar(60_u64.to_le_bytes().to_vec()));

    let contents = |output: &Output| -> Vec<Vec<u8>> {
        let parts = output.parts.iter().map(|part| {
            let content = graph_file.buffers[part.buffer].content.as_ref().unwrap();
            content[part.range.offset_bytes as usize..][..part.range.size_bytes as usize].to_vec()
        });
        parts.collect()
    };
    let whole = &graph_file.outputs[0];
    let expected: Vec<f32> = (0..24_u8).map(f32::from).collect();
    assert_eq!(whole.assemble(&contents(whole)).unwrap(), floats(&expected));
    let flat = &graph_file.outputs[1];
    assert_eq!(flat.encoding, Encoding::Raw { size_bytes: 16 });
    assert_eq!(flat.assemble(&contents(flat)).unwrap(), floats(&[13.0, 14.0, 16.0, 17.0]));
    assert_eq!(
        flat.assemble(&[vec![0; 8]]),
        Err(AssembleError::PartCount { output: "flat".to_owned(), expected: 2, found: 1 })
    );
    assert_eq!(
        flat.assemble(&[vec![0; 8], vec![0; 9]]),
        Err(AssembleError::PartSize { output: "flat".to_owned(), part: 1, expected: 8, found: 9 })
    );
}

#[test]
fn parameters_come_from_defaults_settings_and_capabilities() {
    let text = with_head(
        r#"
[parameters.real]
choose = [{ value = "double", when = "fp64" }, { value = "float" }]
[values]
bytes = "size_of(real) * n"
[[steps]]
marker = true
label = "{real} {bytes}"
"#,
    );
    let label = |settings: &Settings| {
        let graph_file = Folder::new().load(&text, settings).unwrap_or_else(|errors| panic!("{errors}"));
        (graph_file.commands[0].label.clone(), graph_file.parameters["real"].clone())
    };
    let mut settings = Settings::default();
    assert_eq!(label(&settings), ("float 16".to_owned(), "float".to_owned()));
    settings.capabilities.insert("fp64".to_owned());
    assert_eq!(label(&settings), ("double 32".to_owned(), "double".to_owned()));
    settings.parameters.insert("real".to_owned(), "float".to_owned());
    settings.parameters.insert("n".to_owned(), "10".to_owned());
    assert_eq!(label(&settings), ("float 40".to_owned(), "float".to_owned()));
}

#[test]
fn outputs_start_at_the_output_directory_and_inputs_at_the_graph_file() {
    let folder = Folder::new();
    let text = with_head("[[steps]]\nmarker = true\n[outputs.x]\nbuffer = \"x\"\nfile = \"out/{n}.bin\"\n");
    let mut settings = Settings::default();
    assert_eq!(folder.load(&text, &settings).unwrap().outputs[0].path, Path::new("out/4.bin"));
    settings.output_directory = Some(PathBuf::from("/results"));
    let graph_file = folder.load(&text, &settings).unwrap();
    assert_eq!(graph_file.outputs[0].path, Path::new("/results/out/4.bin"));
    assert_eq!(graph_file.programs[0].source_path, folder.path("k.cl"));
}

#[test]
fn summary_counts() {
    let graph_file = load("[[steps]]\nmarker = true\n[[steps]]\nfill = { buffer = \"x\", uint = 0 }\n");
    assert_eq!(
        graph_file.summary().to_string(),
        "g: 2 commands (0 launches, 0 copies, 1 fills, 1 barriers and markers), 1 programs, 2 buffers (0.0 MiB, 0.0 MiB \
         of it inputs), 0 outputs (0.0 MiB)"
    );
}

#[test]
fn a_million_commands_expand() {
    let graph_file = load(
        "[[steps]]\nfor = [\"i\", \"j\"]\nin = [\"0..1000\", \"0..1000\"]\nlaunch = \"k\"\nglobal = [\"i + 1\"]\n\
         arguments = [\"x\", { int = \"i * j\" }]\n",
    );
    assert_eq!(graph_file.commands.len(), 1_000_000);
}
