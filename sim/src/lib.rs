//! Crate `isochrone-sim`.
