//! Flows: one for each source address of a front, with a socket of its own toward the party behind it.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use isochrone_model::{Span, Timestamp};

use super::socket::Socket;

/// Most flows at a time; datagrams of further sources are lost.
const FLOWS_MAX: usize = 16_384;

/// A flow that nothing was sent on for this long is forgotten, as an address translator would.
const IDLE_MAX: Span = Span::from_secs(300);

/// A flow's name; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FlowId(pub u64);

/// Where a party is reached through the relay.
#[derive(Debug)]
pub(super) struct Front {
    pub socket: Socket,
    pub party: usize,
    pub target: SocketAddr,
}

#[derive(Debug)]
pub(super) struct Flow {
    pub front: usize,
    /// Where its datagrams come from.
    pub source: SocketAddr,
    /// The party that sends from there.
    pub party: usize,
    /// Toward the front's target.
    pub socket: Socket,
    used_at: Timestamp,
}

/// All fronts and flows.
#[derive(Debug, Default)]
pub(super) struct Flows {
    pub fronts: Vec<Front>,
    by_source: HashMap<(usize, SocketAddr), FlowId>,
    flows: HashMap<FlowId, Flow>,
    made: u64,
}

impl Flows {
    pub(super) fn get(&self, id: FlowId) -> Option<&Flow> {
        self.flows.get(&id)
    }

    /// The flow of a source, made when there is none yet; `true` with one that is new. `None` when there are too many.
    pub(super) fn of_source(
        &mut self,
        now: Timestamp,
        front: usize,
        source: SocketAddr,
        party: impl FnOnce() -> usize,
    ) -> io::Result<Option<(FlowId, bool)>> {
        if let Some(id) = self.by_source.get(&(front, source)) {
            if let Some(flow) = self.flows.get_mut(id) {
                flow.used_at = now;
            }
            return Ok(Some((*id, false)));
        }
        if self.flows.len() >= FLOWS_MAX {
            return Ok(None);
        }
        let target = self.fronts[front].target;
        let any = match target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = Socket::bind(any)?;
        socket.connect(target)?;
        self.made += 1;
        let id = FlowId(self.made);
        self.by_source.insert((front, source), id);
        self.flows.insert(id, Flow { front, source, party: party(), socket, used_at: now });
        Ok(Some((id, true)))
    }

    /// Its target has sent something.
    pub(super) fn touch(&mut self, now: Timestamp, id: FlowId) {
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.used_at = now;
        }
    }

    /// Forgets what has long been idle. Sockets leave the poll by being closed.
    pub(super) fn forget_idle(&mut self, now: Timestamp) {
        self.flows.retain(|_, flow| now.since(flow.used_at) < IDLE_MAX);
        let flows = &self.flows;
        self.by_source.retain(|_, id| flows.contains_key(id));
    }
}
