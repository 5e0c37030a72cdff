//! What the client sends: programs and buffers, then the graph, as much of it as may be open.

use isochrone_model::message::ClientRequest;
use isochrone_model::order::SessionSecret;
use isochrone_model::{Span, TenantId};
use isochrone_sched_core::Event;

use super::{Engine, MESSAGE_BYTES, Message, PART_BYTES, SESSION};
use crate::cluster::Party;

/// As many commands are made and taken in at once.
const COMMANDS_OF_PIECE: usize = 4_096;

impl Engine<'_> {
    /// Brings the session up and lets programs build: a farm that has been running for a while.
    pub(super) fn set_up(&mut self) {
        self.tell_scheduler(Event::SessionOpened {
            session: SESSION,
            tenant: TenantId(0),
            tenant_name: "simulated".to_owned(),
            policy: String::new(),
            secret: SessionSecret([7; 16]),
        });
        self.push(self.now, Message::SetUp);
        if let Some(measuring) = &self.measuring {
            let known = measuring.before(self.network.as_mut());
            self.tell_measured(known);
        }
        loop {
            while let Some(message) = self.queue.take() {
                self.deliver(message);
            }
            if !self.end_turn() {
                break;
            }
        }
        self.is_setting_up = false;
        self.outcome.steps = 0;
        self.decision_time = Span::ZERO;
    }

    /// The client sends as many commands as it may have open.
    pub(super) fn submit(&mut self) {
        let left = self.requests.commands() - self.sent;
        let room = self.run.commands_open_max.saturating_sub(self.open);
        let count = if self.requests.are_in_one_piece() { left } else { left.min(room) };
        self.sent += count;
        self.open += count;
        let size_bytes = MESSAGE_BYTES + PART_BYTES * count as u64;
        let at = self.network.message(self.now, Party::Client, Party::Scheduler, size_bytes);
        self.push(at, Message::Submission(count));
    }

    /// The client's programs and buffers.
    pub(super) fn take_setup(&mut self) {
        for place in 0..self.requests.setup_requests() {
            self.take_request(self.requests.setup(place));
        }
    }

    /// Commands in pieces, as a live client sends them: what is made of a piece takes the memory of the one before.
    pub(super) fn take_submission(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let commands = self.requests.next_commands(left.min(COMMANDS_OF_PIECE));
            left = left.saturating_sub(commands.len());
            self.take_request(ClientRequest::Submit { commands });
        }
        for buffer in self.requests.take_releases() {
            self.take_request(ClientRequest::ReleaseBuffer { buffer });
        }
    }

    fn take_request(&mut self, request: ClientRequest) {
        self.step_scheduler(Event::Request { session: SESSION, request });
    }
}
