//! Buffers: memory of the farm, wherever it lies.
//!
//! Must never hold contents.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use isochrone_model::message::ClientRequest;
use isochrone_model::{BufferId, ByteRange};

use crate::shared::Shared;

/// A buffer of a session, made of zeros. Where its bytes lie is the farm's business: they move to the
/// devices that use them.
///
/// Clones name the same buffer. When the last one is dropped the farm frees it once the commands
/// enqueued before have finished.
#[derive(Clone, Debug)]
pub struct Buffer {
    owner: Arc<BufferOwner>,
}

impl Buffer {
    pub(crate) fn new(shared: &Arc<Shared>, size_bytes: u64) -> Self {
        let id = shared.create_buffer(size_bytes);
        Self { owner: Arc::new(BufferOwner { id, size_bytes, shared: Arc::clone(shared) }) }
    }

    /// Its id within the session.
    #[must_use]
    pub fn id(&self) -> BufferId {
        self.owner.id
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.owner.size_bytes
    }

    pub(crate) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.owner.shared, shared)
    }

    /// The bytes that the bounds name; `None` when they end before they start.
    pub(crate) fn range(&self, bounds: &impl RangeBounds<u64>) -> Option<ByteRange> {
        let start = match bounds.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.checked_add(1)?,
            Bound::Unbounded => 0,
        };
        let end = match bounds.end_bound() {
            Bound::Included(last) => last.checked_add(1)?,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.size_bytes().max(start),
        };
        (start <= end).then_some(ByteRange { start, end })
    }
}

#[derive(Debug)]
struct BufferOwner {
    id: BufferId,
    size_bytes: u64,
    shared: Arc<Shared>,
}

impl Drop for BufferOwner {
    fn drop(&mut self) {
        self.shared.request(ClientRequest::ReleaseBuffer { buffer: self.id });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_become_bytes_of_the_buffer() {
        let shared = Arc::new(Shared::new());
        let buffer = Buffer::new(&shared, 100);
        assert_eq!(buffer.range(&(..)), Some(ByteRange { start: 0, end: 100 }));
        assert_eq!(buffer.range(&(10..=19)), Some(ByteRange { start: 10, end: 20 }));
        assert_eq!(buffer.range(&(200..)), Some(ByteRange { start: 200, end: 200 }));
        #[expect(clippy::reversed_empty_ranges, reason = "what a caller may do by mistake")]
        let reversed = 20..10;
        assert_eq!(buffer.range(&reversed), None);
        assert_eq!(buffer.range(&(0..=u64::MAX)), None);
    }
}
