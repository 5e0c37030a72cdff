//! The bytes that Isochrone's processes exchange.
//!
//! This crate holds the version preamble, the framing of messages, and the limits that protect a
//! process from what a peer sends. It turns a `T: Serialize` into bytes and bytes into a
//! `T: DeserializeOwned`.
//!
//! It must never hold IO, a clock, or the message types themselves (those are in
//! `isochrone-model`). Nothing that is read here may panic, whatever the bytes are.
//!
//! # The wire
//! Each side of a control stream first writes its [`Preamble`] (8 bytes), and then any number of
//! frames. A frame is a length (`u32`, little endian, without itself) and that many bytes of
//! MessagePack in compact form: the fields of a structure by position, the variants of an
//! enumeration by name. A field of raw bytes must be a type that serialises as bytes
//! (`bytes::Bytes`), so that it travels as MessagePack `bin` and not as an array of numbers.
//! A bulk stream starts with one frame (its header); everything after it is contents.

mod frame;
mod limits;
mod preamble;
mod structure;

pub use frame::{
    DecodeError, EncodeError, FRAME_LENGTH_BYTES, FrameDecoder, decode_payload, encode_bulk_header,
    encode_frame, encode_payload,
};
pub use limits::Limits;
pub use preamble::{PROTOCOL_VERSION, Preamble, PreambleError, Version, VersionParseError};
pub use structure::StructureError;
