//! `dmdas`: StarPU's *deque model data aware sorted*.
//!
//! As `dmda`, but the tasks of a slot's queue leave it in order of falling priority, then as they were pushed. The
//! application's priorities, which StarPU takes, are here the upward ranks (Topcuoglu et al. 2002). As in StarPU the
//! choice of the slot looks at the whole queue, also at what the task will overtake.
//!
//! StarPU also takes, of the tasks of the highest priority in a queue, one whose data are there; upward ranks are
//! hardly ever equal, so this is left out.

use isochrone_sched_core::Policy;

use crate::dmda::{ALPHA, BETA, Dmda, Order};
use crate::horizon::Horizon;
use crate::inbox::Ready;
use crate::{Label, LabelError, PolicyInfo};

pub(crate) const INFO: PolicyInfo = PolicyInfo {
    name: "dmdas",
    summary: "StarPU's: as dmda, with each queue sorted by upward rank",
    parameters: &[ALPHA, BETA, Ready::PARAMETER, Horizon::AHEAD, Horizon::AHEAD_MIN],
    make,
};

fn make(label: &Label) -> Result<Box<dyn Policy>, LabelError> {
    Ok(Box::new(Dmda::from_label(label, INFO.name, Order::Rank)?))
}
