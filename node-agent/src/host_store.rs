//! Host memory of an agent: immutable pieces of buffers, found by range.
//!
//! It holds bytes and the version that each belongs to, and hands them out without copying where it
//! can. It must never decide what to keep or drop: the `Agent` machine does.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use isochrone_model::{BufferKey, ByteRange, Region, Version};

/// Zeros for bytes that no piece covers; sent piecewise, so that a gap costs no memory.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A piece keeps its whole allocation alive; when what is left of one is smaller than this part of it,
/// the rest is copied out so that the allocation can go.
const SHRINK_BELOW_ONE_IN: u64 = 4;

/// Replicas in host memory.
#[derive(Debug, Default)]
pub struct HostStore {
    buffers: BTreeMap<BufferKey, BTreeMap<u64, Piece>>,
    used_bytes: u64,
}

/// Bytes of one version, from the start under which the map holds it.
#[derive(Clone, Debug)]
struct Piece {
    bytes: Bytes,
    version: Version,
    allocation_bytes: u64,
}

/// Why the store cannot take or give a region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostStoreError {
    /// The bytes are more or fewer than the region names.
    #[error("{given_bytes} bytes were given for {range}")]
    Size {
        /// The region's range.
        range: ByteRange,
        /// How many bytes came.
        given_bytes: u64,
    },
    /// The range holds bytes of another version than asked for.
    #[error("{buffer}, {range}: asked for {asked}, found {found}")]
    OtherVersion {
        /// The buffer.
        buffer: BufferKey,
        /// Where the other version lies.
        range: ByteRange,
        /// The version asked for.
        asked: Version,
        /// The version found.
        found: Version,
    },
    /// The region is longer than this machine can address.
    #[error("{range} is longer than memory")]
    TooLong {
        /// The region's range.
        range: ByteRange,
    },
}

impl HostStore {
    /// Takes in a region. It replaces what older versions hold in its range; bytes of newer versions
    /// stay, since the one way for an old version to come late is a message sent twice.
    ///
    /// # Errors
    /// `Size` when the bytes are more or fewer than the region names.
    pub fn insert(&mut self, region: Region, bytes: Bytes) -> Result<(), HostStoreError> {
        if bytes.len() as u64 != region.range.len() {
            return Err(HostStoreError::Size { range: region.range, given_bytes: bytes.len() as u64 });
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let newer: Vec<ByteRange> = self
            .overlapping(region.buffer, region.range)
            .filter(|(_, piece)| piece.version > region.version)
            .map(|(start, piece)| piece.range(start))
            .collect();
        if newer.is_empty() {
            let allocation_bytes = bytes.len() as u64;
            self.put(region.buffer, region.range, region.version, bytes, allocation_bytes);
            return Ok(());
        }
        let mut start = region.range.start;
        let ends = newer.iter().map(|range| (range.start, range.end));
        for (gap_end, next_start) in ends.chain([(region.range.end, region.range.end)]) {
            let part = ByteRange::new(start, gap_end);
            if start < gap_end {
                let from = (part.start - region.range.start) as usize;
                let slice = bytes.slice(from..from + part.len() as usize);
                self.put(region.buffer, part, region.version, slice, bytes.len() as u64);
            }
            start = start.max(next_start);
        }
        Ok(())
    }

    /// Forgets what lies in a range of a buffer, whatever its version.
    pub fn remove(&mut self, buffer: BufferKey, range: ByteRange) {
        let starts: Vec<u64> = self.overlapping(buffer, range).map(|(start, _)| start).collect();
        let Some(pieces) = self.buffers.get_mut(&buffer) else { return };
        for start in starts {
            let Some(piece) = pieces.remove(&start) else { continue };
            let whole = piece.range(start);
            self.used_bytes -= whole.len();
            for rest in [ByteRange::new(whole.start, range.start), ByteRange::new(range.end, whole.end)] {
                if let Some(rest) = rest.intersection(whole) {
                    self.used_bytes += rest.len();
                    pieces.insert(rest.start, piece.part(start, rest));
                }
            }
        }
        if pieces.is_empty() {
            self.buffers.remove(&buffer);
        }
    }

    /// The bytes of a region in one: without copying when they lie in one piece, joined otherwise.
    /// What no piece covers is zeros.
    ///
    /// # Errors
    /// `OtherVersion` when the range holds bytes of another version; `TooLong` when the region cannot
    /// be addressed.
    pub fn slice(&self, region: Region) -> Result<Bytes, HostStoreError> {
        let too_long = HostStoreError::TooLong { range: region.range };
        let length = usize::try_from(region.range.len()).map_err(|_| too_long)?;
        let mut parts = self.parts(region)?;
        if parts.pieces.len() == 1 && parts.zeros_bytes == 0 {
            return Ok(parts.pieces.remove(0).1);
        }
        let mut joined = BytesMut::zeroed(length);
        for (start, bytes) in parts.pieces {
            let offset = (start - region.range.start) as usize;
            joined[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(joined.freeze())
    }

    /// The bytes of a region in order, without copying, to be sent. What no piece covers is zeros.
    ///
    /// # Errors
    /// `OtherVersion` when the range holds bytes of another version.
    pub fn chunks(&self, region: Region) -> Result<Chunks, HostStoreError> {
        let parts = self.parts(region)?;
        Ok(Chunks { at: region.range.start, end: region.range.end, pieces: parts.pieces.into() })
    }

    /// Bytes held in all.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    fn put(
        &mut self,
        buffer: BufferKey,
        range: ByteRange,
        version: Version,
        bytes: Bytes,
        allocation_bytes: u64,
    ) {
        self.remove(buffer, range);
        self.used_bytes += range.len();
        let piece = Piece { bytes, version, allocation_bytes };
        self.buffers.entry(buffer).or_default().insert(range.start, piece);
    }

    fn overlapping(&self, buffer: BufferKey, range: ByteRange) -> impl Iterator<Item = (u64, &Piece)> + '_ {
        self.buffers.get(&buffer).into_iter().flat_map(move |pieces| {
            let first = pieces.range(..=range.start).next_back().map_or(range.start, |(start, _)| *start);
            pieces
                .range(first..range.end.max(first))
                .map(|(start, piece)| (*start, piece))
                .filter(move |(start, piece)| piece.range(*start).overlaps(range))
        })
    }

    fn parts(&self, region: Region) -> Result<Parts, HostStoreError> {
        let mut parts = Parts { pieces: Vec::new(), zeros_bytes: region.range.len() };
        for (start, piece) in self.overlapping(region.buffer, region.range) {
            let Some(shared) = piece.range(start).intersection(region.range) else { continue };
            if piece.version != region.version {
                return Err(HostStoreError::OtherVersion {
                    buffer: region.buffer,
                    range: shared,
                    asked: region.version,
                    found: piece.version,
                });
            }
            let offset = (shared.start - start) as usize;
            let bytes = piece.bytes.slice(offset..offset + shared.len() as usize);
            parts.zeros_bytes -= shared.len();
            parts.pieces.push((shared.start, bytes));
        }
        Ok(parts)
    }
}

/// The pieces of a region, and how many of its bytes none covers.
struct Parts {
    pieces: Vec<(u64, Bytes)>,
    zeros_bytes: u64,
}

impl Piece {
    fn range(&self, start: u64) -> ByteRange {
        ByteRange::new(start, start + self.bytes.len() as u64)
    }

    /// The part of this piece, which begins at `start`, that lies in `range`, which it contains.
    fn part(&self, start: u64, range: ByteRange) -> Self {
        let offset = (range.start - start) as usize;
        let slice = self.bytes.slice(offset..offset + range.len() as usize);
        if range.len() < self.allocation_bytes / SHRINK_BELOW_ONE_IN {
            let bytes = Bytes::copy_from_slice(&slice);
            Self { bytes, version: self.version, allocation_bytes: range.len() }
        } else {
            Self { bytes: slice, version: self.version, allocation_bytes: self.allocation_bytes }
        }
    }
}

/// The bytes of a region in order; owns what it hands out.
#[derive(Clone, Debug)]
pub struct Chunks {
    at: u64,
    end: u64,
    pieces: std::collections::VecDeque<(u64, Bytes)>,
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.at >= self.end {
            return None;
        }
        let next_start = self.pieces.front().map_or(self.end, |(start, _)| *start);
        let bytes = if self.at < next_start {
            let length = (next_start - self.at).min(ZEROS.len() as u64) as usize;
            Bytes::from_static(&ZEROS[..length])
        } else {
            self.pieces.pop_front()?.1
        };
        self.at += bytes.len() as u64;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use isochrone_model::{BufferId, SessionId};
    use proptest::prelude::*;

    use super::*;

    fn region(start: u64, end: u64, version: u64) -> Region {
        Region { buffer: key(), range: ByteRange::new(start, end), version: Version(version) }
    }

    fn key() -> BufferKey {
        BufferKey { session: SessionId(1), buffer: BufferId(2) }
    }

    #[test]
    fn a_slice_inside_one_piece_shares_its_memory() {
        let mut store = HostStore::default();
        let bytes = Bytes::from(vec![7; 100]);
        store.insert(region(50, 150, 1), bytes.clone()).unwrap();
        let slice = store.slice(region(60, 70, 1)).unwrap();
        assert_eq!(slice.as_ptr(), bytes[10..].as_ptr());
        assert_eq!(store.used_bytes(), 100);
    }

    #[test]
    fn gaps_are_zeros_in_slices_and_chunks() {
        let mut store = HostStore::default();
        store.insert(region(2, 4, 0), Bytes::from_static(b"ab")).unwrap();
        store.insert(region(5, 6, 0), Bytes::from_static(b"c")).unwrap();
        assert_eq!(&store.slice(region(0, 7, 0)).unwrap()[..], b"\0\0ab\0c\0");
        let chunks: Vec<Bytes> = store.chunks(region(0, 7, 0)).unwrap().collect();
        assert_eq!(chunks.concat(), b"\0\0ab\0c\0");
        let long = (3 * ZEROS.len() + 5) as u64;
        let zeros = store.chunks(region(10, 10 + long, 0)).unwrap();
        assert_eq!(zeros.map(|bytes| bytes.len() as u64).sum::<u64>(), long);
    }

    #[test]
    fn another_version_is_an_error_and_not_silent() {
        let mut store = HostStore::default();
        store.insert(region(0, 8, 1), Bytes::from(vec![1; 8])).unwrap();
        store.insert(region(4, 8, 2), Bytes::from(vec![2; 4])).unwrap();
        let error = store.slice(region(0, 8, 1)).unwrap_err();
        assert_eq!(
            error,
            HostStoreError::OtherVersion {
                buffer: key(),
                range: ByteRange::new(4, 8),
                asked: Version(1),
                found: Version(2),
            }
        );
        assert_eq!(&store.slice(region(0, 4, 1)).unwrap()[..], [1; 4]);
    }

    #[test]
    fn bytes_that_come_late_do_not_replace_newer_ones() {
        let mut store = HostStore::default();
        store.insert(region(2, 4, 5), Bytes::from_static(b"nn")).unwrap();
        store.insert(region(0, 6, 3), Bytes::from_static(b"oooooo")).unwrap();
        assert_eq!(&store.slice(region(2, 4, 5)).unwrap()[..], b"nn");
        assert_eq!(&store.slice(region(4, 6, 3)).unwrap()[..], b"oo");
        assert_eq!(store.used_bytes(), 6);
    }

    #[test]
    fn a_small_rest_lets_its_large_allocation_go() {
        let mut store = HostStore::default();
        let bytes = Bytes::from(vec![9; 4096]);
        store.insert(region(0, 4096, 1), bytes.clone()).unwrap();
        store.remove(key(), ByteRange::new(16, 4096));
        assert_ne!(store.slice(region(0, 16, 1)).unwrap().as_ptr(), bytes.as_ptr());
        assert_eq!(store.used_bytes(), 16);
        store.remove(key(), ByteRange::new(0, 16));
        assert!(store.buffers.is_empty());
    }

    #[test]
    fn bytes_of_another_length_are_refused() {
        let refused = HostStore::default().insert(region(0, 4, 0), Bytes::from_static(b"abc"));
        assert!(matches!(refused, Err(HostStoreError::Size { given_bytes: 3, .. })));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u64, u64),
        Remove(u64, u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..64_u64, 0..32_u64, 0..4_u64).prop_map(|(at, len, v)| Step::Insert(at, at + len, v)),
            (0..64_u64, 0..32_u64).prop_map(|(at, len)| Step::Remove(at, at + len)),
        ];
        proptest::collection::vec(step, 0..40)
    }

    proptest! {
        #[test]
        fn the_store_agrees_with_a_vector_of_bytes(steps in steps(), at in 0..64_u64, len in 0..32_u64) {
            let mut store = HostStore::default();
            let mut model: Vec<Option<(u64, u8)>> = vec![None; 128];
            for (round, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(start, end, version) => {
                        let byte = round as u8 + 1;
                        store
                            .insert(region(start, end, version), vec![byte; (end - start) as usize].into())
                            .unwrap();
                        for cell in &mut model[start as usize..end as usize] {
                            if cell.is_none_or(|(held, _)| held <= version) {
                                *cell = Some((version, byte));
                            }
                        }
                    }
                    Step::Remove(start, end) => {
                        store.remove(key(), ByteRange::new(start, end));
                        model[start as usize..end as usize].fill(None);
                    }
                }
                prop_assert_eq!(store.used_bytes(), model.iter().flatten().count() as u64);
            }
            for version in 0..4 {
                let wanted = &model[at as usize..(at + len) as usize];
                let legal = wanted.iter().flatten().all(|(held, _)| *held == version);
                let slice = store.slice(region(at, at + len, version));
                let chunks = store.chunks(region(at, at + len, version));
                prop_assert_eq!(slice.is_ok(), legal);
                prop_assert_eq!(chunks.is_ok(), legal);
                if let (Ok(slice), Ok(chunks)) = (slice, chunks) {
                    let bytes: Vec<u8> = wanted.iter().map(|cell| cell.map_or(0, |(_, byte)| byte)).collect();
                    prop_assert_eq!(&slice[..], &bytes[..]);
                    prop_assert_eq!(chunks.collect::<Vec<Bytes>>().concat(), bytes);
                }
            }
        }
    }
}
