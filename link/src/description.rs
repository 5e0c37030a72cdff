//! A link as people describe it: some values, each of which has a default, and changes of some of them later.

use std::fmt;
use std::str::FromStr;

use isochrone_model::{BytesPerSecond, Span};
use thiserror::Error;

use crate::parse::ParseError;
use crate::{
    Chance, Correlation, Jitter, Latency, LinkSpec, Loss, QueueSettings, Reordering, UNLIMITED, WireSettings,
};

/// What happens in one direction of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkSettings {
    /// Latency, losses and so on.
    pub wire: WireSettings,
    /// The rate and what may wait for it; `None` for no limit.
    pub queue: Option<QueueSettings>,
}

/// How latencies vary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// Normal: the delay is the mean, the jitter the standard deviation; never below zero.
    #[default]
    Normal,
    /// Anything from the delay less the jitter to the delay plus the jitter, evenly.
    Uniform,
    /// The delay is the least; what is above it has a Pareto distribution of shape 3 whose mean is the jitter.
    Pareto,
}

impl Distribution {
    /// All, by name.
    pub const NAMES: [(&'static str, Self); 3] =
        [("normal", Self::Normal), ("uniform", Self::Uniform), ("pareto", Self::Pareto)];
}

impl FromStr for Distribution {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::NAMES.into_iter().find(|(name, _)| *name == text).map(|(_, found)| found);
        found.ok_or_else(|| ParseError { text: text.to_owned(), expected: "normal, uniform or pareto" })
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.into_iter().find(|(_, other)| other == self).map_or("", |(name, _)| name);
        formatter.write_str(name)
    }
}

/// One direction of a link, as far as it is described.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkDescription {
    /// One-way latency; default none.
    pub delay: Option<Span>,
    /// How much it varies; default not at all.
    pub jitter: Option<Span>,
    /// In which way; default normally.
    pub distribution: Option<Distribution>,
    /// The coefficient of each latency with that of the datagram before, from 0 up to but not including 1; default 0.
    pub correlation: Option<f64>,
    /// Whether datagrams may overtake each other when latencies vary; default not.
    pub may_overtake: Option<bool>,
    /// The part of datagrams that are lost; default none.
    pub loss: Option<Chance>,
    /// How many are lost in a row on average; default each by itself.
    pub loss_burst: Option<f64>,
    /// At which they pass, headers of IPv4 and UDP included; default unlimited.
    pub rate: Option<BytesPerSecond>,
    /// Bytes that may wait for the rate; default what it passes in twice the delay, and 64 KiB at least.
    pub queue_bytes: Option<u64>,
    /// The part of datagrams that are held back; default none.
    pub reorder: Option<Chance>,
    /// For how long; default 1 ms.
    pub reorder_by: Option<Span>,
    /// The part of datagrams that arrive twice; default none.
    pub duplicate: Option<Chance>,
    /// Larger ones (UDP payload) are lost; default no limit.
    pub datagram_bytes_max: Option<u64>,
}

/// Why a description makes no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DescriptionError {
    /// Bursts of nothing.
    #[error("loss comes in bursts, but there is no loss")]
    BurstWithoutLoss,
    /// Bursts of less than a datagram.
    #[error("a burst of losses has 1 datagram at least")]
    BurstTooShort,
    /// A coefficient that none can be.
    #[error("a correlation is from 0 up to but not including 1")]
    Correlation,
    /// A queue that nothing waits in.
    #[error("nothing waits in a queue without a rate")]
    QueueWithoutRate,
    /// Held back for some time, but never.
    #[error("datagrams are held back, but none of them")]
    HeldBackWithoutChance,
}

impl LinkDescription {
    /// With what this leaves open taken from another.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            delay: self.delay.or(other.delay),
            jitter: self.jitter.or(other.jitter),
            distribution: self.distribution.or(other.distribution),
            correlation: self.correlation.or(other.correlation),
            may_overtake: self.may_overtake.or(other.may_overtake),
            loss: self.loss.or(other.loss),
            loss_burst: self.loss_burst.or(other.loss_burst),
            rate: self.rate.or(other.rate),
            queue_bytes: self.queue_bytes.or(other.queue_bytes),
            reorder: self.reorder.or(other.reorder),
            reorder_by: self.reorder_by.or(other.reorder_by),
            duplicate: self.duplicate.or(other.duplicate),
            datagram_bytes_max: self.datagram_bytes_max.or(other.datagram_bytes_max),
        }
    }

    /// What is described.
    ///
    /// # Errors
    /// When values contradict each other.
    pub fn settings(&self) -> Result<LinkSettings, DescriptionError> {
        let mut wire = WireSettings::new(self.latencies()?);
        wire.keeps_order = !self.may_overtake.unwrap_or(false);
        wire.loss = self.losses()?;
        wire.reordering = match (self.reorder, self.reorder_by) {
            (None, Some(_)) => return Err(DescriptionError::HeldBackWithoutChance),
            (None, None) => wire.reordering,
            (Some(chance), by) => Reordering { chance, by: by.unwrap_or(Span::from_millis(1)) },
        };
        wire.duplication = self.duplicate.unwrap_or(Chance::NEVER);
        wire.datagram_bytes_max = self.datagram_bytes_max.unwrap_or(u64::MAX);
        Ok(LinkSettings { wire, queue: self.queue()? })
    }

    fn latencies(&self) -> Result<Jitter, DescriptionError> {
        let (delay, jitter) = (self.delay.unwrap_or_default(), self.jitter.unwrap_or_default());
        let latency = match self.distribution.unwrap_or_default() {
            _ if jitter == Span::ZERO => Latency::Fixed(delay),
            Distribution::Normal => Latency::Normal { mean: delay, deviation: jitter, min: Span::ZERO },
            Distribution::Uniform => Latency::uniform(delay, jitter),
            Distribution::Pareto => Latency::pareto(delay, jitter.saturating_mul(2), 3.0),
        };
        let correlation = match self.correlation.unwrap_or(0.0) {
            0.0 => Correlation::None,
            coefficient if (0.0..1.0).contains(&coefficient) => Correlation::BetweenDatagrams(coefficient),
            _ => return Err(DescriptionError::Correlation),
        };
        Ok(Jitter { latency, correlation })
    }

    fn losses(&self) -> Result<Loss, DescriptionError> {
        let loss = self.loss.unwrap_or(Chance::NEVER);
        match self.loss_burst {
            None => Ok(Loss::independent(loss)),
            Some(_) if loss == Chance::NEVER => Err(DescriptionError::BurstWithoutLoss),
            Some(burst) if burst >= 1.0 => Ok(Loss::bursts(loss, burst)),
            Some(_) => Err(DescriptionError::BurstTooShort),
        }
    }

    fn queue(&self) -> Result<Option<QueueSettings>, DescriptionError> {
        let rate = self.rate.unwrap_or(UNLIMITED);
        let round_trip = self.delay.unwrap_or_default().saturating_mul(2);
        let queue = LinkSpec::queue(rate, round_trip);
        match (queue, self.queue_bytes) {
            (None, Some(_)) => Err(DescriptionError::QueueWithoutRate),
            (None, None) => Ok(None),
            (Some(queue), limit_bytes) => {
                Ok(Some(QueueSettings { limit_bytes: limit_bytes.unwrap_or(queue.limit_bytes), ..queue }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_has_its_default_or_the_value_before() {
        let plain = LinkDescription::default().settings().unwrap();
        assert_eq!(plain, LinkSettings { wire: WireSettings::new(Jitter::fixed(Span::ZERO)), queue: None });
        let base = LinkDescription {
            delay: Some(Span::from_millis(10)),
            rate: Some(BytesPerSecond(10_000_000)),
            ..LinkDescription::default()
        };
        let queue = base.settings().unwrap().queue.unwrap();
        assert_eq!(queue, QueueSettings { rate: BytesPerSecond(10_000_000), limit_bytes: 200_000 });
        let later = LinkDescription { delay: Some(Span::from_millis(80)), ..LinkDescription::default() };
        let changed = later.or(&base).settings().unwrap();
        assert_eq!(changed.wire.jitter, Jitter::fixed(Span::from_millis(80)));
        assert_eq!(changed.queue.unwrap().rate, BytesPerSecond(10_000_000));
    }

    #[test]
    fn jitter_has_the_named_distribution() {
        let mean = |distribution| {
            let described = LinkDescription {
                delay: Some(Span::from_millis(20)),
                jitter: Some(Span::from_millis(4)),
                distribution: Some(distribution),
                ..LinkDescription::default()
            };
            described.settings().unwrap().wire.jitter.latency.mean().0 / 50_000
        };
        let means = Distribution::NAMES.map(|(_, distribution)| mean(distribution));
        assert_eq!(means, [400, 400, 480]);
        assert!(Distribution::NAMES.iter().all(|(name, found)| name.parse() == Ok(*found)));
        assert!("gauss".parse::<Distribution>().is_err());
    }

    #[test]
    fn contradictions_are_refused() {
        let error = |description: LinkDescription| description.settings().unwrap_err();
        let open = LinkDescription::default;
        assert_eq!(
            error(LinkDescription { loss_burst: Some(3.0), ..open() }),
            DescriptionError::BurstWithoutLoss
        );
        let short = LinkDescription { loss: Some(Chance::new(0.1)), loss_burst: Some(0.5), ..open() };
        assert_eq!(error(short), DescriptionError::BurstTooShort);
        assert_eq!(
            error(LinkDescription { correlation: Some(1.0), ..open() }),
            DescriptionError::Correlation
        );
        assert_eq!(
            error(LinkDescription { queue_bytes: Some(1), ..open() }),
            DescriptionError::QueueWithoutRate
        );
        let held = LinkDescription { reorder_by: Some(Span(1)), ..open() };
        assert_eq!(error(held), DescriptionError::HeldBackWithoutChance);
    }
}
