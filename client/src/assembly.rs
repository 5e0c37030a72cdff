//! The bytes of one read, put together from pieces that come in any order, some of them twice.
//!
//! Must never hold anything about where the pieces come from.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use isochrone_model::Span;

/// A read under way.
#[derive(Debug)]
pub(crate) struct Assembly {
    size_bytes: u64,
    missing_bytes: u64,
    /// By offset, without overlaps and none empty.
    pieces: BTreeMap<u64, Bytes>,
    /// The longest piece's time on its device, as far as told.
    pub execution: Span,
}

impl Assembly {
    pub fn new(size_bytes: u64) -> Self {
        Self { size_bytes, missing_bytes: size_bytes, pieces: BTreeMap::new(), execution: Span::ZERO }
    }

    /// Whether the range lies within the read.
    pub fn takes(&self, offset_bytes: u64, size_bytes: u64) -> bool {
        offset_bytes.checked_add(size_bytes).is_some_and(|end| end <= self.size_bytes)
    }

    /// Takes in the bytes that are not there yet; `false`, and nothing taken, when the piece lies
    /// outside the read.
    pub fn insert(&mut self, offset_bytes: u64, bytes: &Bytes) -> bool {
        let length = bytes.len() as u64;
        if !self.takes(offset_bytes, length) {
            return false;
        }
        let end = offset_bytes + length;
        let mut start = offset_bytes;
        if let Some((before, piece)) = self.pieces.range(..=start).next_back() {
            start = start.max(before + piece.len() as u64);
        }
        while start < end {
            let next = self.pieces.range(start..end).next().map(|(next, piece)| (*next, piece.len()));
            let gap_end = next.map_or(end, |(next, _)| next);
            if gap_end > start {
                let part = bytes.slice((start - offset_bytes) as usize..(gap_end - offset_bytes) as usize);
                self.missing_bytes -= part.len() as u64;
                self.pieces.insert(start, part);
            }
            start = next.map_or(end, |(next, length)| next + length as u64);
        }
        true
    }

    pub fn is_complete(&self) -> bool {
        self.missing_bytes == 0
    }

    /// All bytes; a single piece is given as it came.
    pub fn into_bytes(mut self) -> Bytes {
        if self.pieces.len() == 1
            && let Some((_, only)) = self.pieces.pop_first()
        {
            return only;
        }
        let mut whole = BytesMut::with_capacity(self.size_bytes as usize);
        for piece in self.pieces.into_values() {
            whole.extend_from_slice(&piece);
        }
        whole.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_any_order_and_twice_make_the_whole() {
        let whole: Vec<u8> = (0..100).collect();
        let mut assembly = Assembly::new(100);
        for (start, end) in [(60, 80), (10, 20), (15, 65), (15, 65), (90, 100), (0, 12), (70, 95)] {
            assert!(!assembly.is_complete());
            assert!(assembly.insert(start as u64, &Bytes::copy_from_slice(&whole[start..end])));
        }
        assert!(assembly.is_complete());
        assert!(assembly.insert(0, &Bytes::copy_from_slice(&whole)));
        assert_eq!(assembly.into_bytes(), whole);
    }

    #[test]
    fn pieces_outside_the_read_are_refused() {
        let mut assembly = Assembly::new(4);
        assert!(!assembly.insert(1, &Bytes::from_static(b"four")));
        assert!(!assembly.insert(u64::MAX, &Bytes::from_static(b"x")));
        assert!(!assembly.is_complete());
    }

    #[test]
    fn one_piece_is_not_copied() {
        let piece = Bytes::from(vec![7; 64]);
        let mut assembly = Assembly::new(64);
        assembly.insert(0, &piece);
        assert_eq!(assembly.into_bytes().as_ptr(), piece.as_ptr());
    }
}
