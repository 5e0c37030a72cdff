//! What came of a run that has ended.

use isochrone_model::Timestamp;

use super::{Engine, SimulationError};
use crate::simulation::outcome::{DeviceRun, Outcome};

impl Engine<'_> {
    pub(super) fn outcome(mut self) -> Result<Outcome, SimulationError> {
        let tasks = self.run.graph.tasks.len();
        if self.ended < tasks {
            let first = self.outcome.tasks.iter().position(|run| run.attempts == 0).unwrap_or(0);
            let hint = if self.outcome.rejections > 0 {
                "the policy's proposals were refused"
            } else {
                "the policy placed nothing more, or no device can run it"
            };
            return Err(SimulationError::Stalled {
                unfinished: tasks - self.ended,
                tasks,
                first: self.run.graph.tasks.get(first).map(|task| task.name.clone()).unwrap_or_default(),
                hint,
            });
        }
        let devices = self.run.cluster.devices().map(|(agent, _, device)| DeviceRun {
            name: format!("{}/{}", self.run.cluster.agents[agent].name, device.name),
            slots: usize::from(device.slots),
            ..DeviceRun::default()
        });
        self.outcome.devices = devices.collect();
        for run in &self.outcome.tasks {
            let device = &mut self.outcome.devices[run.device];
            device.tasks += 1;
            device.busy += run.finish.since(run.start);
        }
        for outrun in &self.outcome.outrun {
            self.outcome.devices[outrun.run.device].busy += outrun.run.finish.since(outrun.run.start);
        }
        let last = self.outcome.tasks.iter().map(|run| run.finish).max().unwrap_or_default();
        self.outcome.makespan = last.since(Timestamp::ZERO);
        self.outcome.rejections = self.scheduler.status().rejections.iter().map(|(_, count)| count).sum();
        self.outcome.decision_time = self.run.stopwatch.map(|_| self.decision_time);
        Ok(self.outcome)
    }
}
