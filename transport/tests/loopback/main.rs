//! Endpoints against endpoints, and against peers that break the rules, on loopback.

mod bulk;
mod certificates;
mod control;
mod farm;
mod late;
mod lifetime;
mod measure;
mod path;
mod violations;
