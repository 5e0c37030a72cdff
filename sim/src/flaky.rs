//! Backups that fail though the task does not: what they leave behind must be taken for nothing.

use isochrone_model::{AgentId, BoundArguments, DeviceIndex, Order, Region, Work};
use isochrone_sched_core::agent::{OperationError, OperationKind};

use crate::random::Random;
use crate::site::Site;

/// Of so many backups about one fails.
const BACKUPS_PER_FAILURE: u64 = 3;

/// The launches that are to fail, known by their arguments: tasks of one kernel and equal arguments are not told apart, and
/// kernels without arguments are left alone.
#[derive(Default)]
pub(crate) struct Flaky {
    launches: Vec<(AgentId, BoundArguments, Vec<Region>)>,
}

impl Flaky {
    /// An agent takes an order.
    pub fn note(&mut self, agent: AgentId, order: &Order, random: &mut Random) {
        let (run, is_backup) = match order {
            Order::RunBackup(run) => (run, true),
            Order::Run(run) => (run, false),
            _ => return,
        };
        let Work::Kernel { arguments, .. } = &run.work else { return };
        self.launches.retain(|(at, known, _)| *at != agent || known != arguments);
        if is_backup && !arguments.is_empty() && random.one_in(BACKUPS_PER_FAILURE) {
            self.launches.push((agent, arguments.clone(), run.outputs.clone()));
        }
    }

    /// A launch has ended: if it was to fail, its outputs are left spoilt.
    pub fn spoil(
        &mut self,
        agent: AgentId,
        device: DeviceIndex,
        kind: &OperationKind,
        site: &mut Site,
    ) -> Result<(), OperationError> {
        let OperationKind::Launch { arguments, .. } = kind else { return Ok(()) };
        let is_it =
            |(at, known, _): &(AgentId, BoundArguments, Vec<Region>)| *at == agent && known == arguments;
        let Some(place) = self.launches.iter().position(is_it) else { return Ok(()) };
        let (_, _, outputs) = self.launches.remove(place);
        for region in outputs {
            site.poke(device, region, &vec![0xdd; region.range.len() as usize]);
        }
        Err(OperationError::Failed {
            call: "clEnqueueNDRangeKernel".to_owned(),
            reason: "the device of a backup was made to fail".to_owned(),
        })
    }
}
