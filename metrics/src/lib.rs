//! What runs measured, summarised and made readable: [`Latencies`] and [`Rates`] as histograms, the
//! [`RunManifest`] that says where and how it was measured, [`Figure`]s beside their floors, and
//! Markdown tables. Everything serialises, so that JSON is one call of the caller's away.
//!
//! Must never read a clock: times are arguments here.

mod figure;
mod latencies;
mod manifest;
mod rates;
mod table;

pub use figure::{Figure, Floor, Summary};
pub use latencies::{Latencies, LatencySummary};
pub use manifest::{MachineFacts, RunManifest};
pub use rates::{RateSummary, Rates};
pub use table::{Alignment, Table};
