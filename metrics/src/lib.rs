//! Crate `isochrone-metrics`.
