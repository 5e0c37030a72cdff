//! The bounds on what a peer may make this process hold, each with its reason.
//!
//! Must never hold a bound without a reason, nor a bound on anything but bytes on the wire.

/// Bounds on frames. Both sides of a connection should use the same values: the encoder enforces
/// them too, so that a message that a peer would refuse fails where it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest payload of a frame on a control stream, in bytes; default 4 MiB.
    ///
    /// A batch of 10,000 commands takes about 1 MiB; contents of buffers never travel in frames.
    /// Four times that leaves room for graphs sent whole, and keeps what one peer can make us
    /// buffer before the first byte is decoded small.
    pub control_frame_bytes_max: usize,

    /// Largest payload of the header of a bulk stream, in bytes; default 4 KiB.
    ///
    /// A header names a transfer (a few ids and a length). Many may be incomplete at once, one
    /// for each open stream, so that the bound is multiplied by the streams of a peer.
    pub bulk_header_bytes_max: usize,

    /// Deepest nesting of arrays and maps in a payload; default 64.
    ///
    /// An enumeration takes up to two levels, a structure one; the deepest message takes about
    /// 12. Decoding recurses once for each level, so that this also bounds the stack.
    pub payload_depth_max: usize,

    /// Most values (numbers, strings, arrays, maps, ...) in one payload; default 2,097,152.
    ///
    /// One byte can stand for a value which takes a hundred bytes in memory (a vector of empty
    /// options), so that the bytes of a frame alone do not bound what decoding it allocates.
    pub payload_values_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            control_frame_bytes_max: 4 << 20,
            bulk_header_bytes_max: 4 << 10,
            payload_depth_max: 64,
            payload_values_max: 2 << 20,
        }
    }
}
