//! Crate `isochrone-testbed`.
