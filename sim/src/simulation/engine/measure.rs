//! What parties measure of their paths and tell the scheduler, where nothing is stated to it.

use isochrone_model::{AgentId, Report, Timestamp};
use isochrone_sched_core::Event;

use super::{Engine, MESSAGE_BYTES, Message, PART_BYTES};
use crate::cluster::Party;
use crate::simulation::measuring::Measured;

impl Engine<'_> {
    /// All paths are measured once more.
    pub(super) fn measure(&mut self) {
        if let Some(measuring) = &mut self.measuring {
            let measured = measuring.round(self.now, self.network.as_mut());
            self.tell_measured(measured);
        }
    }

    /// Sends the scheduler what parties have measured. While the farm is set up it has been known for a while.
    pub(super) fn tell_measured(&mut self, measured: Vec<Measured>) {
        for Measured { from, at, paths } in measured {
            let size_bytes = MESSAGE_BYTES + PART_BYTES * paths.len() as u64;
            let at = match from {
                _ if self.is_setting_up => self.now,
                Party::Agent(_) => {
                    let way = self.network.message(self.now, from, Party::Scheduler, size_bytes);
                    at + way.since(self.now)
                }
                Party::Scheduler | Party::Client => at,
            };
            match from {
                Party::Agent(agent) => {
                    let path = |(to, sample)| Report::PathMeasured { to, sample };
                    let reports = paths.into_iter().map(path).collect();
                    let event = Event::Reports { agent: AgentId::from_index(agent), reports };
                    self.push(at, Message::ToScheduler(Box::new(event)));
                }
                Party::Scheduler | Party::Client => {
                    for (to, sample) in paths {
                        let event = Event::PathMeasured { to, sample };
                        self.push(at, Message::ToScheduler(Box::new(event)));
                    }
                }
            }
        }
    }

    /// Sends the scheduler what an agent saw of a transfer that has ended.
    pub(super) fn tell_carried(&mut self, agent: usize, report: Report) {
        let (from, to) = (Party::Agent(agent), Party::Scheduler);
        let event = Event::Reports { agent: AgentId::from_index(agent), reports: vec![report] };
        self.send(from, to, MESSAGE_BYTES + PART_BYTES, Message::ToScheduler(Box::new(event)));
    }

    /// What the receiver of a transfer that has just ended has seen of its path.
    pub(super) fn carried(&mut self, place: usize, first_byte: Timestamp) -> Option<Report> {
        let measuring = self.measuring.as_mut()?;
        measuring.end(self.now, place, first_byte, &self.outcome.transfers)
    }
}
