//! Frames: a length and a payload, one message each.
//!
//! Must never hold IO, nor know which messages there are.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Limits;
use crate::structure::{self, StructureError};

/// Bytes of the length in front of each payload.
pub const FRAME_LENGTH_BYTES: usize = 4;

/// A decoder keeps at most this much empty buffer, in bytes: one large frame must not pin its
/// memory for the rest of a connection.
const BUFFER_KEPT_BYTES_MAX: usize = 64 << 10;

/// Why a message cannot be written as a frame. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The message is larger than a peer would take.
    #[error("message takes more than {bytes_max} bytes")]
    TooLarge {
        /// The limit in force, in bytes of payload.
        bytes_max: usize,
    },
    /// The message is nested too deep, or holds more values than a peer would take.
    #[error("message is not one that a peer would take")]
    Structure(#[from] StructureError),
    /// The message's own `Serialize` failed.
    #[error("message cannot be written as MessagePack")]
    Serialize(#[source] rmp_serde::encode::Error),
}

/// Why bytes from a peer are no frame of the expected message. After the first error a decoder
/// gives only [`DecodeError::AlreadyFailed`]: where the next frame starts is not known.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The length in front of a frame is beyond the limit.
    #[error("frame of {claimed_bytes} bytes announced, at most {bytes_max} are allowed")]
    TooLarge {
        /// The length that the peer announced, in bytes.
        claimed_bytes: usize,
        /// The limit in force, in bytes of payload.
        bytes_max: usize,
    },
    /// The payload is not one well-formed value within the limits.
    #[error("malformed frame")]
    Structure(#[from] StructureError),
    /// The payload is well-formed, but not the expected message.
    #[error("frame does not hold the expected message")]
    Deserialize(#[source] rmp_serde::decode::Error),
    /// An earlier frame on this stream was refused.
    #[error("an earlier frame on this stream was refused")]
    AlreadyFailed,
}

/// Appends `message` as one frame of a control stream to `buffer`.
///
/// # Errors
/// If the message is not within `limits` or does not serialise; `buffer` is as before then.
pub fn encode_frame<T: Serialize + ?Sized>(
    message: &T,
    buffer: &mut BytesMut,
    limits: &Limits,
) -> Result<(), EncodeError> {
    encode(message, buffer, limits.control_frame_bytes_max, limits)
}

/// Appends `header` as the frame at the start of a bulk stream to `buffer`.
///
/// # Errors
/// If the header is not within `limits` or does not serialise; `buffer` is as before then.
pub fn encode_bulk_header<T: Serialize + ?Sized>(
    header: &T,
    buffer: &mut BytesMut,
    limits: &Limits,
) -> Result<(), EncodeError> {
    encode(header, buffer, limits.bulk_header_bytes_max, limits)
}

/// Appends the payload of `message`, without a length, to `buffer`.
///
/// # Errors
/// If the payload takes more than `payload_bytes_max`, is not within `limits` or does not
/// serialise; `buffer` is as before then.
pub fn encode_payload<T: Serialize + ?Sized>(
    message: &T,
    buffer: &mut BytesMut,
    payload_bytes_max: usize,
    limits: &Limits,
) -> Result<(), EncodeError> {
    let start = buffer.len();
    let result = write_payload(message, buffer, payload_bytes_max, limits);
    if result.is_err() {
        buffer.truncate(start);
    }
    result
}

/// Reads the one message that `payload` holds.
///
/// # Errors
/// If the payload is not exactly one well-formed value within `limits`, or not a `T`. The bytes
/// of `payload` itself are not limited here.
pub fn decode_payload<T: DeserializeOwned>(payload: &[u8], limits: &Limits) -> Result<T, DecodeError> {
    structure::check(payload, limits.payload_depth_max, limits.payload_values_max)?;
    rmp_serde::from_slice(payload).map_err(DecodeError::Deserialize)
}

fn encode<T: Serialize + ?Sized>(
    message: &T,
    buffer: &mut BytesMut,
    payload_bytes_max: usize,
    limits: &Limits,
) -> Result<(), EncodeError> {
    // The length must fit its four bytes, whatever the limit says.
    let payload_bytes_max = payload_bytes_max.min(u32::MAX as usize);
    let start = buffer.len();
    buffer.extend_from_slice(&[0; FRAME_LENGTH_BYTES]);
    if let Err(error) = encode_payload(message, buffer, payload_bytes_max, limits) {
        buffer.truncate(start);
        return Err(error);
    }
    let payload_bytes = buffer.len() - start - FRAME_LENGTH_BYTES;
    let length =
        u32::try_from(payload_bytes).map_err(|_| EncodeError::TooLarge { bytes_max: payload_bytes_max })?;
    buffer[start..start + FRAME_LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

fn write_payload<T: Serialize + ?Sized>(
    message: &T,
    buffer: &mut BytesMut,
    payload_bytes_max: usize,
    limits: &Limits,
) -> Result<(), EncodeError> {
    let start = buffer.len();
    let mut writer = BoundedWriter { buffer, left: payload_bytes_max, overflowed: false };
    let result = rmp_serde::encode::write(&mut writer, message);
    if writer.overflowed {
        return Err(EncodeError::TooLarge { bytes_max: payload_bytes_max });
    }
    result.map_err(EncodeError::Serialize)?;
    let payload = &buffer[start..];
    // What this side sends, a peer with the same limits takes.
    structure::check(payload, limits.payload_depth_max, limits.payload_values_max)?;
    Ok(())
}

/// Appends to a buffer up to a bound, so that a message that is too large is not first written
/// whole.
struct BoundedWriter<'a> {
    buffer: &'a mut BytesMut,
    left: usize,
    overflowed: bool,
}

impl io::Write for BoundedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.left {
            self.overflowed = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.left -= bytes.len();
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Cuts a stream of bytes into frames and decodes them.
///
/// Take every frame with [`FrameDecoder::next`] until it gives `None` before extending it again:
/// then it never holds more than one frame and what was last read from the stream.
#[derive(Debug)]
pub struct FrameDecoder {
    limits: Limits,
    frame_bytes_max: usize,
    buffer: BytesMut,
    failed: bool,
}

impl FrameDecoder {
    /// A decoder for the frames of a control stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::with_frame_bytes_max(limits, limits.control_frame_bytes_max)
    }

    /// A decoder for the header of a bulk stream. What follows the header comes out of
    /// [`FrameDecoder::into_rest`].
    #[must_use]
    pub fn for_bulk_header(limits: Limits) -> Self {
        Self::with_frame_bytes_max(limits, limits.bulk_header_bytes_max)
    }

    fn with_frame_bytes_max(limits: Limits, frame_bytes_max: usize) -> Self {
        Self { limits, frame_bytes_max, buffer: BytesMut::new(), failed: false }
    }

    /// Takes in what was read from the stream.
    pub fn extend(&mut self, bytes: impl AsRef<[u8]>) {
        self.buffer.extend_from_slice(bytes.as_ref());
    }

    /// The next message, or `None` if more bytes are needed for it.
    ///
    /// # Errors
    /// As soon as the length is there if it is beyond the limit, and otherwise when the frame is
    /// complete. After an error there is no further message.
    #[expect(
        clippy::should_implement_trait,
        reason = "the type of each message is chosen by the call, so that this is no iterator"
    )]
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, DecodeError> {
        let Some(payload_bytes) = self.complete_payload_bytes()? else {
            return Ok(None);
        };
        let frame_bytes = FRAME_LENGTH_BYTES + payload_bytes;
        let payload = &self.buffer[FRAME_LENGTH_BYTES..frame_bytes];
        let result = decode_payload(payload, &self.limits);
        self.failed = result.is_err();
        self.buffer.advance(frame_bytes);
        if self.buffer.is_empty() && frame_bytes > BUFFER_KEPT_BYTES_MAX {
            self.buffer = BytesMut::new();
        }
        result.map(Some)
    }

    /// The payload of the next frame as it is, or `None` if more bytes are needed for it. To be
    /// decoded with [`decode_payload`].
    ///
    /// # Errors
    /// As soon as the length is there if it is beyond the limit.
    pub fn next_payload(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let Some(payload_bytes) = self.complete_payload_bytes()? else {
            return Ok(None);
        };
        self.buffer.advance(FRAME_LENGTH_BYTES);
        Ok(Some(self.buffer.split_to(payload_bytes).freeze()))
    }

    /// Whether part of a frame is there: a stream must not end now.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The bytes that were taken in and not yet given out.
    #[must_use]
    pub fn into_rest(self) -> Bytes {
        self.buffer.freeze()
    }

    /// The length of the next payload in bytes, once all of it is in the buffer.
    fn complete_payload_bytes(&mut self) -> Result<Option<usize>, DecodeError> {
        if self.failed {
            return Err(DecodeError::AlreadyFailed);
        }
        let Some(length) = self.buffer.first_chunk::<FRAME_LENGTH_BYTES>() else {
            return Ok(None);
        };
        let claimed_bytes = u32::from_le_bytes(*length) as usize;
        if claimed_bytes > self.frame_bytes_max {
            self.failed = true;
            return Err(DecodeError::TooLarge { claimed_bytes, bytes_max: self.frame_bytes_max });
        }
        let complete = self.buffer.len() - FRAME_LENGTH_BYTES >= claimed_bytes;
        Ok(complete.then_some(claimed_bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Ping,
        Number(u64),
        Pair(u32, i16),
        Named { name: String, contents: Bytes, parts: Vec<Option<u16>> },
        Table(BTreeMap<u8, String>),
        Deeper(Box<Sample>),
    }

    fn frame(message: &Sample) -> Vec<u8> {
        let mut buffer = BytesMut::new();
        encode_frame(message, &mut buffer, &Limits::default()).expect("within limits");
        buffer.to_vec()
    }

    fn payload_frame(payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short");
        [&length.to_le_bytes()[..], payload].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Option<Sample>, DecodeError> {
        let mut decoder = FrameDecoder::new(Limits::default());
        decoder.extend(bytes);
        decoder.next()
    }

    #[test]
    fn frames_have_golden_bytes() {
        assert_eq!(frame(&Sample::Ping), b"\x05\0\0\0\xa4Ping");
        assert_eq!(frame(&Sample::Number(300)), b"\x0b\0\0\0\x81\xa6Number\xcd\x01\x2c");
        assert_eq!(frame(&Sample::Pair(7, -2)), b"\x09\0\0\0\x81\xa4Pair\x92\x07\xfe");
        let named = Sample::Named {
            name: "ab".to_owned(),
            contents: Bytes::from_static(&[0, 255]),
            parts: vec![Some(1), None],
        };
        // Bytes travel as `bin` (c4), fields by position.
        assert_eq!(frame(&named), b"\x12\0\0\0\x81\xa5Named\x93\xa2ab\xc4\x02\x00\xff\x92\x01\xc0");
    }

    #[test]
    fn many_frames_come_out_of_any_cutting() {
        let messages = [
            Sample::Ping,
            Sample::Number(u64::MAX),
            Sample::Deeper(Box::new(Sample::Pair(1, 1))),
            Sample::Table([(3, "x".to_owned())].into()),
        ];
        let stream: Vec<u8> = messages.iter().flat_map(frame).collect();
        for piece_bytes in 1..stream.len() {
            let mut decoder = FrameDecoder::new(Limits::default());
            let mut received = Vec::new();
            for piece in stream.chunks(piece_bytes) {
                decoder.extend(piece);
                while let Some(message) = decoder.next::<Sample>().expect("valid") {
                    received.push(message);
                }
            }
            assert_eq!(received, messages);
            assert!(!decoder.is_mid_frame());
        }
    }

    #[test]
    fn oversized_length_is_refused_with_its_four_bytes() {
        let mut decoder = FrameDecoder::new(Limits::default());
        decoder.extend([0x01, 0x00, 0x40]);
        assert!(matches!(decoder.next::<Sample>(), Ok(None)));
        decoder.extend([0x00]);
        let error = decoder.next::<Sample>().expect_err("4 MiB + 1");
        assert_eq!(error.to_string(), "frame of 4194305 bytes announced, at most 4194304 are allowed");
        assert!(matches!(decoder.next::<Sample>(), Err(DecodeError::AlreadyFailed)));
    }

    #[test]
    fn bulk_header_has_its_own_limit_and_a_rest() {
        let limits = Limits::default();
        let mut buffer = BytesMut::new();
        encode_bulk_header(&Sample::Number(5), &mut buffer, &limits).expect("small");
        buffer.extend_from_slice(b"contents");
        let mut decoder = FrameDecoder::for_bulk_header(limits);
        decoder.extend(&buffer);
        let payload = decoder.next_payload().expect("valid").expect("complete");
        let header: Sample = decode_payload(&payload, &limits).expect("a sample");
        assert_eq!(header, Sample::Number(5));
        assert_eq!(decoder.into_rest(), &b"contents"[..]);

        let large = Sample::Table([(0, "x".repeat(4096))].into());
        assert!(matches!(
            encode_bulk_header(&large, &mut buffer, &limits),
            Err(EncodeError::TooLarge { bytes_max: 4096 })
        ));
        let mut decoder = FrameDecoder::for_bulk_header(limits);
        decoder.extend(frame(&large));
        assert!(matches!(decoder.next_payload(), Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn too_large_message_leaves_the_buffer_as_it_was() {
        let limits = Limits { control_frame_bytes_max: 16, ..Limits::default() };
        let mut buffer = BytesMut::from(&b"before"[..]);
        let message = Sample::Table([(0, "x".repeat(64))].into());
        let error = encode_frame(&message, &mut buffer, &limits).expect_err("64 > 16");
        assert_eq!(error.to_string(), "message takes more than 16 bytes");
        assert_eq!(&buffer[..], b"before");
    }

    #[test]
    fn message_that_a_peer_would_refuse_is_not_sent() {
        let mut message = Sample::Ping;
        for _ in 0..100 {
            message = Sample::Deeper(Box::new(message));
        }
        let mut buffer = BytesMut::new();
        assert!(matches!(
            encode_frame(&message, &mut buffer, &Limits::default()),
            Err(EncodeError::Structure(StructureError::TooDeep { .. }))
        ));
        assert!(buffer.is_empty());
    }

    #[test]
    fn nested_enumerations_do_not_exhaust_the_stack() {
        // The decoder underneath does not count the depth of enumerations.
        let mut payload = Vec::new();
        for _ in 0..400_000 {
            payload.extend_from_slice(b"\x81\xa6Deeper");
        }
        payload.extend_from_slice(b"\xa4Ping");
        assert!(matches!(
            decode(&payload_frame(&payload)),
            Err(DecodeError::Structure(StructureError::TooDeep { .. }))
        ));
    }

    #[test]
    fn claimed_lengths_beyond_the_frame_are_refused() {
        for claim in [
            &b"\xdd\xff\xff\xff\xff"[..],
            b"\xdf\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
        ] {
            let payload = [&b"\x81\xa5Named\x93\xa1x\xc4\x00"[..], claim].concat();
            assert!(matches!(
                decode(&payload_frame(&payload)),
                Err(DecodeError::Structure(StructureError::Overrun { .. }))
            ));
        }
    }

    #[test]
    fn empty_trailing_and_foreign_payloads_are_refused() {
        assert!(matches!(
            decode(&payload_frame(b"")),
            Err(DecodeError::Structure(StructureError::Overrun { offset: 0 }))
        ));
        assert!(matches!(
            decode(&payload_frame(b"\xa4Ping\xc0")),
            Err(DecodeError::Structure(StructureError::Trailing { surplus: 1 }))
        ));
        assert!(matches!(decode(&payload_frame(b"\xa4Pong")), Err(DecodeError::Deserialize(_))));
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let leaf = prop_oneof![
            Just(Sample::Ping),
            any::<u64>().prop_map(Sample::Number),
            any::<(u32, i16)>().prop_map(|(first, second)| Sample::Pair(first, second)),
            (
                "[a-z]{0,40}",
                proptest::collection::vec(any::<u8>(), 0..300),
                proptest::collection::vec(any::<Option<u16>>(), 0..40),
            )
                .prop_map(|(name, contents, parts)| Sample::Named {
                    name,
                    contents: contents.into(),
                    parts,
                }),
            proptest::collection::btree_map(any::<u8>(), "[a-z]{0,9}", 0..20).prop_map(Sample::Table),
        ];
        leaf.prop_recursive(6, 8, 1, |inner| inner.prop_map(|inner| Sample::Deeper(Box::new(inner))))
    }

    proptest! {
        #[test]
        fn any_message_comes_back(message in sample()) {
            prop_assert_eq!(decode(&frame(&message)).expect("valid"), Some(message));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&bytes);
            let _ = decode(&payload_frame(&bytes));
        }

        #[test]
        fn mutated_frames_never_panic(
            message in sample(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = frame(&message);
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            let _ = decode(&bytes);
            let payload = &bytes[FRAME_LENGTH_BYTES..];
            let _ = decode(&payload_frame(&payload[..cut.index(payload.len())]));
        }
    }
}
