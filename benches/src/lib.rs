//! What the measuring programs have in common: the processor time of processes, and tables written where they belong.

pub mod cpu;
pub mod endpoint;
pub mod links;
pub mod report;
