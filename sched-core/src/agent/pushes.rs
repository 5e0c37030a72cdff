//! What waits for contents: tasks, and regions that are to be sent to other agents.

use std::cmp::Reverse;

use isochrone_model::{BufferKey, Report};

use super::Agent;
use super::buffer::{Residence, WaitingPush};
use super::event::AgentAction;
use crate::few::Few;

impl Agent {
    /// Wakes the tasks that wait for contents of a buffer, and sends what has become sendable.
    pub(super) fn contents_changed(&mut self, key: BufferKey) {
        let Some(buffer) = self.buffers.get_mut(&key) else { return };
        if !buffer.waiters.is_empty() {
            for task in std::mem::take(&mut buffer.waiters) {
                if let Some(held) = self.tasks.get(&task) {
                    self.wake.push(Reverse((held.arrival, task)));
                }
            }
        }
        if !buffer.pushes.is_empty() {
            self.advance_pushes(key);
        }
    }

    /// Takes in a push. For those that wait already nothing has changed.
    pub(super) fn take_push(&mut self, push: WaitingPush) {
        let pushes = &self.buffers.make(push.region.buffer).pushes;
        let is_only_one = !pushes.iter().any(|other| other.region.range.overlaps(push.region.range));
        if self.does_push_wait(push, is_only_one) {
            self.buffers.make(push.region.buffer).pushes.push(push);
        }
    }

    /// Sends every waiting push whose region lies on the host, and fetches those that lie on a device.
    fn advance_pushes(&mut self, key: BufferKey) {
        let Some(buffer) = self.buffers.get_mut(&key) else {
            return;
        };
        if buffer.pushes.is_empty() {
            return;
        }
        let mut remaining = Few::None;
        let pushes = std::mem::take(&mut buffer.pushes);
        for push in pushes.iter().copied() {
            let of_same = pushes.iter().filter(|other| other.region.range.overlaps(push.region.range));
            if self.does_push_wait(push, of_same.count() == 1) {
                remaining.push(push);
            }
        }
        if let Some(buffer) = self.buffers.get_mut(&key) {
            remaining.extend(std::mem::take(&mut buffer.pushes));
            buffer.pushes = remaining;
        }
    }

    /// Sends a push if its region lies on the host, and fetches it if it lies on a device; whether it is still to be sent.
    fn does_push_wait(&mut self, push: WaitingPush, is_only_one: bool) -> bool {
        match self.buffers[&push.region.buffer].on_host(push.region) {
            Residence::Ready => {
                self.actions.push(AgentAction::SendReplica { region: push.region, to: push.to });
                false
            }
            Residence::Elsewhere if self.stream_push(push, is_only_one) => false,
            Residence::Elsewhere => {
                self.fetch(push.region);
                true
            }
            Residence::Absent => true,
            Residence::Superseded => {
                let reason = "newer contents have taken its place".to_owned();
                self.report(Report::PushFailed { region: push.region, to: push.to, reason });
                false
            }
        }
    }
}
