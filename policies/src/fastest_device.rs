//! `fastest-device`: all tasks on the one device that would take least for them all.
//!
//! The yardstick for what a second device brings (SAGA's `FastestNode`; Coleman and Krishnamachari). The device is the one
//! that may run the most tasks and of these the one whose times add up to least, ties to the lowest. Tasks are taken in
//! program order, each to the device's slot where it starts first, ties to the lowest. A task that may not run there goes
//! to the slot where it takes least.

use isochrone_sched_core::Policy;

use crate::planning::{PlannedOptions, Planner, Problem, Schedule, by_priority, planned};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "fastest-device",
    summary: "static: everything on the device that is fastest for all tasks together",
    parameters: &PlannedOptions::PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    planned(INFO.name, "planned: the fastest device", FastestDevice, label)
}

/// The planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct FastestDevice;

impl Planner for FastestDevice {
    fn plan(&self, problem: &Problem) -> Schedule {
        let Some(device) = fastest(problem) else { return Schedule::new(problem.tasks()) };
        by_priority(
            problem,
            |_| (),
            |partial, task| {
                let on_device = problem
                    .legal_slots(task)
                    .filter(|slot| problem.device_of(*slot) == device)
                    .map(|slot| partial.on_slot(task, slot, false))
                    .min_by_key(|here| (here.start, here.slot));
                on_device.or_else(|| {
                    let slots = problem.legal_slots(task);
                    let slot = slots.min_by_key(|slot| (problem.execution(task, *slot), *slot))?;
                    Some(partial.on_slot(task, slot, false))
                })
            },
        )
    }
}

fn fastest(problem: &Problem) -> Option<usize> {
    let mut sums = vec![(0_usize, 0_u128); problem.slots()];
    for task in 0..problem.tasks() {
        for (sum, execution) in sums.iter_mut().zip(problem.executions(task)) {
            if *execution == Problem::ILLEGAL {
                sum.0 += 1;
            } else {
                sum.1 += u128::from(execution.0);
            }
        }
    }
    let best = (0..problem.slots()).min_by_key(|slot| (sums[*slot], problem.device_of(*slot)))?;
    Some(problem.device_of(best))
}
