//! The bounds of one farm, in one place, each with its reason.

use serde::{Deserialize, Serialize};

/// Bounds that the machines keep. What exceeds one is refused with an error that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Sessions at one time, over all tenants; each costs a control stream and its queues.
    pub sessions_max: u32,
    /// Unfinished commands of one session; bounds the scheduler's memory for one client.
    pub commands_per_session_max: u32,
    /// Live buffers of one session.
    pub buffers_per_session_max: u32,
    /// Live programs of one session.
    pub programs_per_session_max: u32,
    /// Source of one program in bytes; larger ones are generated tables, better kept in buffers.
    pub program_source_bytes_max: u64,
    /// Arguments of one launch; OpenCL devices take 1 to 4 KiB of arguments in all.
    pub arguments_max: u32,
    /// Predecessors that one command may name in `after`.
    pub after_max: u32,
    /// Contents up to this size travel inside the command, as scalar arguments do, and outputs up to
    /// this size inside the completion: a stream of its own would cost more than the bytes.
    pub inline_bytes_max: u64,
    /// Launches that one slot holds on its device at a time; enough to hide a completion's way back,
    /// few enough that a cancelled graph stops soon.
    pub slot_depth_max: u32,
    /// Attempts of one task before its loss is reported.
    pub attempts_max: u32,
    /// Failed commands whose causes one session keeps for commands that come later.
    pub failures_kept_max: u32,
    /// Bytes that one peer may have in flight toward an agent before their task is known.
    pub early_bytes_max: u64,
    /// Placement decisions kept for `explain`, oldest dropped first; 0 for none.
    pub decisions_kept_max: u32,
    /// Slots that the scheduler weighs itself for what one plan of a policy places without naming what it weighed, so that
    /// `explain` has something to show; what is placed beyond is kept with its reason alone. Placing thousands at once must
    /// not wait for estimates that nobody reads. Journals from before it was there are read with 0.
    #[serde(default)]
    pub slots_weighed_per_plan_max: u32,
    /// Backup attempts that are under way at one time, for each hundred slots of the farm, rounded up; those that were
    /// cancelled and have not ended count, too. Each takes a slot that may have another use, and the network: LATE (Zaharia
    /// et al., OSDI 2008) bounds them to a tenth of the slots, and farms here are small. Journals from before it was there
    /// are read with 0: no backups.
    #[serde(default)]
    pub backups_per_hundred_slots_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_max: 1_024,
            commands_per_session_max: 4_000_000,
            buffers_per_session_max: 1_000_000,
            programs_per_session_max: 4_096,
            program_source_bytes_max: 2 << 20,
            arguments_max: 256,
            after_max: 65_536,
            inline_bytes_max: 2_048,
            slot_depth_max: 256,
            attempts_max: 3,
            failures_kept_max: 4_096,
            early_bytes_max: 1 << 30,
            decisions_kept_max: 16_384,
            slots_weighed_per_plan_max: 256,
            backups_per_hundred_slots_max: 25,
        }
    }
}
