//! Crate `isochrone-benches`.
