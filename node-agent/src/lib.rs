//! A node agent: the live driver of the `Agent` machine, with an OpenCL backend and a virtual one.
//!
//! Only `opencl/` names opencl3. Decisions are the machine's; this crate moves bytes, calls devices
//! and talks to peers.

pub mod backend;
mod clients;
mod clock;
mod driver;
mod error_text;
pub mod host_store;
mod inputs;
pub mod opencl;
mod options;
mod payloads;
mod peers;
mod recent;
mod reports;
mod run;
mod sends;
mod streams;
pub mod virtual_devices;

pub use backend::{Backend, BackendEvent, BackendSink};
pub use options::{AgentOptions, BackendError, BackendMaker};
pub use run::{AgentError, BoundAgent, run_agent};
