//! Figures as SVG files that stand alone: axes, lines, bars of time, intervals.
//!
//! Holds how figures look; must never hold what is shown, or read a file. The same input gives the same text, bit for
//! bit, on every machine.

mod chart;
mod difference;
mod forest;
mod gantt;
mod numbers;
mod scale;
mod svg;

pub use chart::{Axis, Chart, Series, Stroke};
pub use difference::{DifferenceDiagram, RankedName};
pub use forest::{Forest, ForestRow};
pub use gantt::gantt;
pub use numbers::{bytes, counted, duration, fixed, significant, span};
pub use scale::Scale;
pub use svg::{Anchor, Svg, escaped};

/// Colours that people with any of the common colour blindnesses can tell apart (Okabe and Ito 2008), without the
/// yellow, which is too light on white.
pub const PALETTE: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// What is in the background.
pub const GREY: &str = "#b8b8b8";

/// Text, axes.
pub const INK: &str = "#222222";

/// Patterns of lines, for readers without colours, and so that a line shows through the gaps of those drawn over it; the first, which
/// is drawn below all others, is whole.
pub const DASHES: [&str; 8] = ["", "10 6", "2 5", "12 4 2 4", "5 5", "12 4 2 4 2 4", "18 6", "6 3 1 3"];

/// A colour for a category beyond the palette too: each round through the palette is lighter.
#[must_use]
pub fn colour(index: usize) -> String {
    let base = PALETTE[index % PALETTE.len()];
    let round = (index / PALETTE.len()) as u32 % 3;
    let mix = |at: usize| {
        let value = u32::from_str_radix(&base[at..at + 2], 16).unwrap_or(0);
        value + (255 - value) * round * 3 / 10
    };
    format!("#{:02x}{:02x}{:02x}", mix(1), mix(3), mix(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_beyond_the_palette_are_lighter_and_differ() {
        let all: Vec<String> = (0..21).map(colour).collect();
        assert_eq!(all[0], "#0072b2");
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), 21);
    }
}
