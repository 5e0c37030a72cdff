//! How many ready tasks a rule considers at one time that compares all of them.
//!
//! After the fixed count strategy of Maheswaran et al. (JPDC 59(2), 1999): there, too, such a rule maps sets of tasks, and a set is
//! mapped when it has a fixed number of tasks. A rule that asks after each placement which of n tasks comes first takes in the order of n squared
//! if what tasks take on slots follows no rule; with a bound it takes in the order of n times the bound.
//!
//! The bound should be several times the number of slots: a batch of fewer tasks than slots leaves nothing to choose.

use std::fmt;

use crate::{Label, LabelError};

/// So many ready tasks at most are considered at one time. The others wait in the order in which they became ready, of those that
/// became ready together the smallest index first, until half of those that are considered have been placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    tasks_max: usize,
}

impl Batch {
    /// All ready tasks are considered, however many there are.
    pub const UNBOUNDED: Self = Self { tasks_max: usize::MAX };

    /// The parameter, for `PolicyInfo`.
    pub(crate) const PARAMETER: (&'static str, &'static str, &'static str) = (
        "batch",
        "1024",
        "at most so many ready tasks are compared at one time, the first to become ready; 0 all",
    );

    /// At most `tasks_max` tasks, one at least.
    #[must_use]
    pub fn of(tasks_max: usize) -> Self {
        Self { tasks_max: tasks_max.max(1) }
    }

    /// From a label; 0 is no bound.
    pub(crate) fn of_label(label: &Label) -> Result<Self, LabelError> {
        Ok(match label.get("batch", Self::default().tasks_max, "a whole number from 0")? {
            0 => Self::UNBOUNDED,
            tasks_max => Self::of(tasks_max),
        })
    }

    /// How many of the tasks that wait come in beside those that are considered: all if they fit, else none until half of the
    /// bound is placed, then as many as fit. So many come together, which is what makes chains of them (`planning/chains.rs`).
    pub(crate) fn admitted(self, considered: usize, waiting: usize) -> usize {
        let room = self.tasks_max.saturating_sub(considered);
        if waiting <= room {
            waiting
        } else if considered <= self.tasks_max / 2 {
            room
        } else {
            0
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::of(1024)
    }
}

/// As a label writes it.
impl fmt::Display for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks_max = if *self == Self::UNBOUNDED { 0 } else { self.tasks_max };
        write!(formatter, "batch={tasks_max}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_comes_in_at_once_and_what_does_not_when_half_is_placed() {
        let batch = Batch::of(8);
        assert_eq!((batch.admitted(0, 8), batch.admitted(5, 3)), (8, 3));
        assert_eq!((batch.admitted(0, 9), batch.admitted(5, 4), batch.admitted(8, 1)), (8, 0, 0));
        assert_eq!((batch.admitted(4, 9), batch.admitted(4, 5)), (4, 4));
        assert_eq!((Batch::of(1).admitted(0, 7), Batch::of(1).admitted(1, 7)), (1, 0));
        assert_eq!(Batch::UNBOUNDED.admitted(1_000_000, 7_000_000), 7_000_000);
    }

    #[test]
    fn labels_write_the_bound_and_read_it_again() {
        for (text, batch) in
            [("x", Batch::default()), ("x(batch=0)", Batch::UNBOUNDED), ("x(batch=7)", Batch::of(7))]
        {
            let read = Batch::of_label(&text.parse().unwrap()).unwrap();
            assert_eq!(read, batch);
            assert_eq!(Batch::of_label(&format!("x({read})").parse().unwrap()).unwrap(), batch);
        }
        assert_eq!(Batch::default().to_string(), format!("batch={}", Batch::PARAMETER.1));
        assert!(Batch::of_label(&"x(batch=-1)".parse().unwrap()).is_err());
    }
}
