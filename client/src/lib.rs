//! Isochrone's client: OpenCL work enqueued here runs on a farm of machines, wherever each command
//! finishes first.
//!
//! A [`Farm`] is a connection to a scheduler; a [`Session`] holds buffers, programs and commands. Every
//! command is sent the moment it is enqueued and nothing waits for a reply: ids are chosen here, data
//! dependencies are found by the farm, and results come straight from the machine that made them.
//!
//! ```no_run
//! use isochrone_client::{ConnectOptions, Farm, SessionOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let farm = Farm::connect(ConnectOptions::from_environment()?).await?;
//! let session = farm.session(SessionOptions::new()).await?;
//! let program = session
//!     .program("kernel void twice(global float *values) { values[get_global_id(0)] *= 2.0f; }")
//!     .build();
//! let values = session.buffer_from([1.0_f32, 2.0, 3.0]);
//! session.launch(&program, "twice").range([3]).buffer(&values).enqueue();
//! let doubled: Vec<f32> = session.read(&values).enqueue().to_vec().await?;
//! assert_eq!(doubled, [2.0, 4.0, 6.0]);
//! session.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # First words
//! [`Farm::connect`] and [`Farm::session`] wait until the farm has said that all is well, so that errors come early and
//! with their types. Where the first result is what matters, [`Farm::connect_lazy`] and [`Farm::begin_session`] wait for
//! nothing: the first commands are answered one round trip after the handshake.
//!
//! # Failures
//! A command's handle tells why it failed ([`CommandError`]); commands that depend on it fail with
//! [`CommandError::Dependency`], which names the first failure. [`Session::finish`] reports failures
//! whose handles were dropped. When the scheduler's connection is lost everything open fails with
//! [`CommandError::SessionClosed`].
//!
//! # Runtime
//! Everything runs on the tokio runtime in which the farm was connected; no threads are started.
//!
//! This crate must never hold knowledge of QUIC (`transport` does) or of placement.

mod assembly;
mod batch;
mod buffer;
mod builder;
mod cell;
mod connect;
mod driver;
mod element;
mod error;
mod farm;
mod graph;
mod handle;
mod links;
mod program;
mod questions;
mod session;
mod shared;

pub use buffer::Buffer;
pub use builder::{
    BarrierBuilder, CopyBuilder, Dimensions, FillBuilder, LaunchBuilder, MarkerBuilder, ReadBuilder,
    WriteBuilder,
};
pub use cell::{ReadWait, Wait};
pub use connect::ConnectOptions;
pub use element::{Contents, Element, Scalar};
pub use error::{AskError, ConnectError, OpenError};
pub use farm::Farm;
pub use graph::{Graph, GraphError, GraphHandle};
pub use handle::{CommandHandle, ReadHandle};
pub use program::{Program, ProgramBuilder};
pub use session::{Session, SessionOptions};

pub use isochrone_model::message::{
    AgentStatus, Candidate, Decision, DeviceStatus, Explanation, FarmStatus, PlannedTransfer, ProgramFacts,
    SessionStatus,
};
pub use isochrone_model::{
    BytesPerSecond, CommandError, CommandId, DeviceFacts, DeviceKind, LinkStatus, RoundTripStatus, Span,
    TransferParts,
};
pub use isochrone_transport::{Identity, Role};
