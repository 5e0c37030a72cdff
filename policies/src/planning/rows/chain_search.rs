//! What a search of chains asks of rows: bounds of the measures of a part of a chain, and the measure of one row.

use super::super::chains::{Chain, Judge, Worth};
use super::{Found, Measure, Rows};

/// A search of chains for a row with a larger measure than what was found.
pub(super) struct ChainSearch<'a, 'b> {
    pub rows: &'a mut Rows<'b>,
    pub found: Option<Found>,
}

impl Judge for ChainSearch<'_, '_> {
    fn bound(&mut self, chain: &Chain, first: usize, last: usize) -> i64 {
        let (shortest, longest) = (self.rows.problem.executions(first), self.rows.problem.executions(last));
        match self.rows.measure {
            Measure::Completion => {
                self.rows.complete_into(longest, |rows| &mut rows.late);
                self.rows.late.iter().copied().min().unwrap_or(i64::MAX)
            }
            Measure::Sufferage => {
                self.rows.complete_into(shortest, |rows| &mut rows.early);
                self.rows.complete_into(longest, |rows| &mut rows.late);
                let (early, late) = (&self.rows.early[..], &self.rows.late[..]);
                match chain.off_line_nanos {
                    Some(off) => line_sufferage(early, late).saturating_add(4 * off),
                    None => {
                        let (second, earliest) = (best_two(late).1, best_two(early).0);
                        second.0.saturating_sub(earliest.0)
                    }
                }
            }
        }
    }

    fn look_at(&mut self, row: u32) {
        let (found, _) = self.rows.found(row);
        if self.found.is_none_or(|known| found.worth > known.worth) {
            self.found = Some(found);
        }
    }

    fn found(&self) -> Option<Worth> {
        self.found.map(|found| found.worth)
    }
}

/// What the second-best place costs more than the best at most between two rows, if completions grow evenly from the one's to the
/// other's: each is given for both.
///
/// If one place is best for both, it is best in between, and what another costs more is there at most what it is at one of
/// the ends. If two are, every other place that is best in between is followed closely by the one that is best at an end, which at
/// the other end costs what it does.
fn line_sufferage(early: &[i64], late: &[i64]) -> i64 {
    let ((early_best, early_second), (late_best, late_second)) = (best_two(early), best_two(late));
    if early_best.1 != late_best.1 {
        let (late_there, early_there) = (late[early_best.1], early[late_best.1]);
        return late_there.saturating_sub(late_best.0).max(early_there.saturating_sub(early_best.0));
    }
    // Whatever place is second at the one end, it bounds the sufferage by what it costs more at both.
    let more = |place: usize| (early[place] - early_best.0).max(late[place] - late_best.0);
    let at_least = (early_second.0 - early_best.0).max(late_second.0 - late_best.0);
    if more(early_second.1) <= at_least {
        return at_least;
    }
    let places = 0..early.len();
    places.filter(|place| *place != early_best.1).map(more).min().unwrap_or(i64::MAX)
}

/// The smallest number and the next, each with its place; of equal ones the first.
fn best_two(numbers: &[i64]) -> ((i64, usize), (i64, usize)) {
    let (mut best, mut second) = ((i64::MAX, 0), (i64::MAX, 0));
    for (place, number) in numbers.iter().copied().enumerate() {
        if number < second.0 {
            if number < best.0 {
                (best, second) = ((number, place), best);
            } else {
                second = (number, place);
            }
        }
    }
    (best, second)
}
