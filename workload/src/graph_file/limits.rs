//! The bounds that loading a graph file keeps to, with their reasons. Must never hold a check; only numbers.

/// The bounds of a graph file. A file is written by its own user, so these catch mistakes (a loop with one factor too
/// many), not attacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Commands after expansion. A million commands are some hundred megabytes on a client. Default 1,000,000.
    pub commands_max: usize,
    /// Buffers after expansion. Default 1,000,000.
    pub buffers_max: usize,
    /// Parts of all outputs together. Default 1,000,000.
    pub output_parts_max: usize,
    /// Iterations of all loops together, also those that make nothing: bounds the time of expansion.
    /// Default 20,000,000.
    pub iterations_max: u64,
    /// `after` references of all commands together. Default 20,000,000.
    pub dependencies_max: usize,
    /// Arguments of one kernel; OpenCL itself promises room for at least 1024 bytes of them. Default 256.
    pub arguments_max: usize,
    /// Loop variables of one `for`. Default 8.
    pub loop_variables_max: usize,
    /// Steps within steps. Default 16: bounds the recursion over the file.
    pub nesting_depth_max: usize,
    /// Size of the graph file in bytes. Default 16 MiB.
    pub graph_file_bytes_max: u64,
    /// Size of one program source in bytes. Default 16 MiB.
    pub source_bytes_max: u64,
    /// Size of one data file, and of its decoded content, in bytes. Default 4 GiB.
    pub data_file_bytes_max: u64,
    /// Initial contents of all buffers together in bytes. Default 16 GiB.
    pub content_bytes_max: u64,
    /// Size of one buffer in bytes. Default 1 TiB.
    pub buffer_bytes_max: u64,
    /// Size of one output in bytes. Default 16 GiB.
    pub output_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            commands_max: 1_000_000,
            buffers_max: 1_000_000,
            output_parts_max: 1_000_000,
            iterations_max: 20_000_000,
            dependencies_max: 20_000_000,
            arguments_max: 256,
            loop_variables_max: 8,
            nesting_depth_max: 16,
            graph_file_bytes_max: 16 << 20,
            source_bytes_max: 16 << 20,
            data_file_bytes_max: 4 << 30,
            content_bytes_max: 16 << 30,
            buffer_bytes_max: 1 << 40,
            output_bytes_max: 16 << 30,
        }
    }
}
