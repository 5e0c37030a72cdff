//! The keys of the graph file format, table by table: what the checker accepts and the JSON schema lists. Must never
//! hold what a key means.

/// The top level.
pub(crate) const DOCUMENT: &[&str] =
    &["graph", "parameters", "data", "values", "programs", "buffers", "steps", "outputs"];
/// `[graph]`.
pub(crate) const GRAPH: &[&str] = &["name", "description", "verify", "require"];
/// An item of `graph.require` that is a table.
pub(crate) const REQUIREMENT: &[&str] = &["check", "message"];
/// A parameter that is a table.
pub(crate) const PARAMETER: &[&str] = &["choose"];
/// An alternative of `choose`.
pub(crate) const CHOICE: &[&str] = &["value", "when"];
/// `[data.NAME]`.
pub(crate) const DATA: &[&str] = &["file", "format", "dtype", "shape"];
/// `[programs.NAME]`.
pub(crate) const PROGRAM: &[&str] = &["file", "options"];
/// `[buffers.NAME]`.
pub(crate) const BUFFER: &[&str] =
    &["for", "in", "let", "if", "file", "format", "data", "slice", "dtype", "shape", "size"];
/// An entry of `[[steps]]`, of every kind.
pub(crate) const STEP: &[&str] = &[
    "for",
    "in",
    "let",
    "if",
    "label",
    "after",
    "launch",
    "program",
    "global",
    "local",
    "offset",
    "arguments",
    "copy",
    "fill",
    "barrier",
    "marker",
    "steps",
];
/// Of these a step has exactly one.
pub(crate) const STEP_KINDS: &[&str] = &["launch", "copy", "fill", "barrier", "marker", "steps"];
/// Keys that only a launch has.
pub(crate) const LAUNCH_ONLY: &[&str] = &["program", "global", "local", "offset", "arguments"];
/// `copy`.
pub(crate) const COPY: &[&str] = &["from", "from_offset", "to", "to_offset", "size"];
/// `fill`, beside the scalar types.
pub(crate) const FILL: &[&str] = &["buffer", "offset", "size", "type", "value"];
/// An argument that is a buffer.
pub(crate) const BUFFER_ARGUMENT: &[&str] = &["buffer", "offset", "size", "access", "touches"];
/// An argument that is a scalar of a computed type.
pub(crate) const TYPED_SCALAR: &[&str] = &["type", "value"];
/// `[outputs.NAME]`.
pub(crate) const OUTPUT: &[&str] = &[
    "for", "in", "let", "if", "file", "format", "dtype", "shape", "width", "height", "channels", "bits",
    "buffer", "offset", "size", "at", "part",
];
/// The scalar types of OpenCL; each also stands with 2, 3, 4, 8 or 16 after it.
pub(crate) const SCALAR_TYPES: &[&str] =
    &["char", "uchar", "short", "ushort", "int", "uint", "long", "ulong", "float", "double"];
/// The words for `access`.
pub(crate) const ACCESS: &[&str] = &["read", "write", "read-write"];
