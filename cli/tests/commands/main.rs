//! The command as people run it: in a shell, with farms and daemons as processes.

mod links;
mod live;
mod readme;
mod shell;
mod simulate;
