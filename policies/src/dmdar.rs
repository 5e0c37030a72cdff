//! `dmdar`: StarPU's *deque model data aware ready*.
//!
//! As `dmda`, but a slot takes from its queue first the task with the fewest bytes that are not resident at its
//! agent; ties go to the one pushed first. What is still on its way, or still being made, is not resident.
//!
//! StarPU looks through the whole queue, which takes time quadratic in its length. Here a slot looks at the first
//! `window` tasks.

use isochrone_sched_core::Policy;

use crate::dmda::{ALPHA, BETA, Dmda, Order};
use crate::horizon::Horizon;
use crate::inbox::Ready;
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "dmdar",
    summary: "StarPU's: as dmda, with the task of each queue first whose data are most resident",
    parameters: &[
        ALPHA,
        BETA,
        ("window", "64", "how many tasks at the front of a queue are looked at"),
        Ready::PARAMETER,
        Horizon::AHEAD,
        Horizon::AHEAD_MIN,
    ],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    let window: u32 = label.get("window", 64, "a whole number from 1")?;
    let order = Order::Resident { window: (window as usize).max(1) };
    Ok(Box::new(Dmda::from_label(label, INFO.name, order)?))
}
