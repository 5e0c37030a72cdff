//! Endpoints against endpoints, and against peers that break the rules, on loopback.

mod bulk;
mod certificates;
mod control;
mod farm;
mod first;
mod late;
mod lifetime;
mod local;
mod measure;
mod path;
mod second;
mod slow_path;
mod violations;
