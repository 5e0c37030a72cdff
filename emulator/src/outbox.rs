//! Datagrams that are due, joined so that one call sends many.

use bytes::Bytes;
use quinn_udp::EcnCodepoint;

use super::flows::{FlowId, Flows};

/// Most bytes that one call sends.
const SEND_BYTES_MAX: usize = 60 << 10;

/// A datagram on its way: a part of what came with one receipt.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    pub flow: FlowId,
    /// From the source to the target, or back.
    pub is_forward: bool,
    pub receipt: Bytes,
    pub start: usize,
    pub end: usize,
    pub congestion: Option<EcnCodepoint>,
}

impl Datagram {
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    fn contents(&self) -> &[u8] {
        &self.receipt[self.start..self.end]
    }
}

/// Datagrams that go out together.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Vec<Datagram>,
    joined: Vec<u8>,
}

impl Outbox {
    /// Sends a datagram now or together with those that follow, see [`Outbox::flush`].
    pub(super) fn send(&mut self, flows: &Flows, datagram: Datagram) {
        if self.waiting.first().is_some_and(|first| !self.may_join(first, &datagram, flows)) {
            self.flush(flows);
        }
        self.waiting.push(datagram);
    }

    /// All are of the first's size but for the last, which may be smaller.
    fn may_join(&self, first: &Datagram, next: &Datagram, flows: &Flows) -> bool {
        let is_same_way = first.flow == next.flow
            && first.is_forward == next.is_forward
            && first.congestion == next.congestion;
        let last_is_full = self.waiting.last().is_some_and(|last| last.len() == first.len());
        let datagrams_max = flows.get(first.flow).map_or(1, |flow| flow.socket.datagrams_max());
        is_same_way
            && last_is_full
            && next.len() <= first.len()
            && next.len() > 0
            && self.waiting.len() < datagrams_max
            && (self.waiting.len() + 1) * first.len() <= SEND_BYTES_MAX
    }

    /// Sends all.
    pub(super) fn flush(&mut self, flows: &Flows) {
        let (Some(first), Some(last)) = (self.waiting.first(), self.waiting.last()) else { return };
        if let Some(flow) = flows.get(first.flow) {
            let are_neighbours = self.waiting.windows(2).all(|pair| {
                pair[0].end == pair[1].start && pair[0].receipt.as_ptr() == pair[1].receipt.as_ptr()
            });
            let contents = if are_neighbours {
                &first.receipt[first.start..last.end]
            } else {
                self.joined.clear();
                for datagram in &self.waiting {
                    self.joined.extend_from_slice(datagram.contents());
                }
                &self.joined[..]
            };
            let front = &flows.fronts[flow.front];
            let (socket, to) =
                if first.is_forward { (&flow.socket, front.target) } else { (&front.socket, flow.source) };
            socket.send(to, contents, first.len(), first.congestion);
        }
        self.waiting.clear();
    }
}
