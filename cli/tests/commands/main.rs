//! The command as people run it: in a shell, with farms and daemons as processes.

mod live;
mod readme;
mod shell;
mod simulate;
