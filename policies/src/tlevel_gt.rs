//! `tlevel-gt`: Estee's greedy scheduler with transfer costs, in order of rising t-level: the expected duration of the longest way from the beginning of the graph to the task,
//! without itself, without transfers.
//!
//! Source, choice of the slot, ties and what is otherwise here: see `greedy_transfer.rs`.

use isochrone_sched_core::Policy;

use crate::greedy_transfer::{GreedyTransfer, Level, PARAMETERS};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "tlevel-gt",
    summary: "Estee's: the shortest way so far first, to the free slot with the fewest bytes to move",
    parameters: &PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(GreedyTransfer::from_label(label, INFO.name, Level::Top)?))
}
