//! `blevel-gt`: Estee's greedy scheduler with transfer costs, in order of falling b-level: the expected duration of the longest way from the task, itself included, to
//! the end of the graph, without transfers.
//!
//! Source, choice of the slot, ties and what is otherwise here: see `greedy_transfer.rs`.

use isochrone_sched_core::Policy;

use crate::greedy_transfer::{GreedyTransfer, Level, PARAMETERS};
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "blevel-gt",
    summary: "Estee's: the longest remaining way first, to the free slot with the fewest bytes to move",
    parameters: &PARAMETERS,
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(GreedyTransfer::from_label(label, INFO.name, Level::Bottom)?))
}
