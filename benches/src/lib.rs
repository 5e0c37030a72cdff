//! What the measuring programs have in common: tables written where they belong.

pub mod endpoint;
pub mod links;
pub mod report;
