//! Which datagrams are lost.

use crate::chance::Chance;
use crate::mathematics::ln;
use crate::random::Random;

/// Which datagrams are lost: a chain of two states, each with a chance of loss (Gilbert and Elliott). Without bursts it
/// never leaves the good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// To become bad before a datagram.
    pub enter: Chance,
    /// To become good again before a datagram.
    pub leave: Chance,
    /// To lose one while good.
    pub when_good: Chance,
    /// To lose one while bad.
    pub when_bad: Chance,
}

impl Loss {
    /// None.
    pub const NONE: Self = Self {
        enter: Chance::NEVER,
        leave: Chance::NEVER,
        when_good: Chance::NEVER,
        when_bad: Chance::NEVER,
    };

    /// Each datagram by itself.
    #[must_use]
    pub fn independent(chance: Chance) -> Self {
        Self { when_good: chance, ..Self::NONE }
    }

    /// A part of all datagrams, in bursts of `burst` datagrams in a row on average (at least 1).
    #[must_use]
    pub fn bursts(part: Chance, burst: f64) -> Self {
        let leave = 1.0 / burst.max(1.0);
        let part = part.probability();
        // The part of time that is bad, enter / (enter + leave), is the part that is lost.
        let enter = if part < 1.0 { leave * part / (1.0 - part) } else { 1.0 };
        Self {
            enter: Chance::new(enter),
            leave: Chance::new(if part < 1.0 { leave } else { 0.0 }),
            when_good: Chance::NEVER,
            when_bad: Chance::ALWAYS,
        }
    }

    /// The part that is lost in the long run.
    #[must_use]
    pub fn part(&self) -> f64 {
        let (enter, leave) = (self.enter.probability(), self.leave.probability());
        let bad = if enter == 0.0 { 0.0 } else { enter / (enter + leave) };
        bad * self.when_bad.probability() + (1.0 - bad) * self.when_good.probability()
    }
}

/// Decides for one datagram after the other.
#[derive(Clone, Debug)]
pub(crate) struct LossState {
    loss: Loss,
    is_bad: bool,
}

impl LossState {
    pub(crate) fn new(loss: Loss) -> Self {
        Self { loss, is_bad: false }
    }

    /// Goes on with other chances in the present state.
    pub(crate) fn change(&mut self, loss: Loss) {
        self.loss = loss;
        self.is_bad &= loss.enter != Chance::NEVER;
    }

    pub(crate) fn is_lost(&mut self, random: &mut Random) -> bool {
        let turn = if self.is_bad { self.loss.leave } else { self.loss.enter };
        self.is_bad ^= turn.happens(random);
        let chance = if self.is_bad { self.loss.when_bad } else { self.loss.when_good };
        chance.happens(random)
    }
}

/// How many datagrams pass until one is lost, that one included, when each is lost by itself with probability `loss`
/// (above 0, below 1); drawn at once.
pub fn datagrams_to_loss(loss: f64, random: &mut Random) -> u64 {
    // Never zero, whose logarithm there is not.
    let uniform = (random.below(1 << 52) as f64 + 0.5) / (1_u64 << 52) as f64;
    let datagrams = ln(uniform) / ln(1.0 - loss);
    (datagrams as u64).saturating_add(1).min(1 << 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(loss: Loss, datagrams: usize) -> Vec<bool> {
        let (mut state, mut random) = (LossState::new(loss), Random::new(11));
        (0..datagrams).map(|_| state.is_lost(&mut random)).collect()
    }

    fn part(lost: &[bool]) -> f64 {
        lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64
    }

    #[test]
    fn independent_losses_and_those_drawn_at_once_are_as_many() {
        let each = part(&lost(Loss::independent(Chance::new(0.02)), 200_000));
        let mut random = Random::new(5);
        let gaps: u64 = (0..4_000).map(|_| datagrams_to_loss(0.02, &mut random)).sum();
        let drawn = 4_000.0 / gaps as f64;
        assert!((each - 0.02).abs() < 0.0015 && (drawn - 0.02).abs() < 0.0015, "{each} {drawn}");
    }

    #[test]
    fn bursts_have_the_stated_part_and_length() {
        let loss = Loss::bursts(Chance::new(0.05), 8.0);
        assert!((loss.part() - 0.05).abs() < 1e-6);
        let lost = lost(loss, 400_000);
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        let length = part(&lost) * 400_000.0 / bursts;
        assert!((part(&lost) - 0.05).abs() < 0.004, "{}", part(&lost));
        assert!((length - 8.0).abs() < 0.4, "{length}");
    }

    #[test]
    fn both_states_lose_their_part() {
        let loss = Loss {
            enter: Chance::new(0.01),
            leave: Chance::new(0.03),
            when_good: Chance::new(0.02),
            when_bad: Chance::new(0.5),
        };
        let found = part(&lost(loss, 400_000));
        assert!((loss.part() - 0.14).abs() < 1e-6 && (found - 0.14).abs() < 0.006, "{found}");
        assert!(lost_all(Loss::bursts(Chance::ALWAYS, 3.0)));
    }

    fn lost_all(loss: Loss) -> bool {
        lost(loss, 100).iter().all(|lost| *lost)
    }
}
