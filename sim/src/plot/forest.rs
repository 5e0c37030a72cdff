//! Estimates, with their intervals where there are any, one row each.

use super::chart::shortened;
use super::svg::{Anchor, Svg};
use super::{INK, PALETTE, Scale};

/// One row.
#[derive(Clone, Debug)]
pub struct ForestRow {
    /// What is estimated.
    pub name: String,
    /// The estimate.
    pub middle: f64,
    /// The ends of its interval, if there is one.
    pub interval: Option<(f64, f64)>,
    /// What else is to be said, at the right.
    pub note: String,
}

/// Intervals under each other on one logarithmic axis of ratios.
#[derive(Clone, Debug)]
pub struct Forest {
    /// Above.
    pub title: String,
    /// How the intervals were made, and of how many.
    pub subtitle: String,
    /// Below the axis.
    pub label: String,
    /// The rows from the top.
    pub rows: Vec<ForestRow>,
}

const WIDTH: f64 = 940.0;
const LEFT: f64 = 220.0;
const RIGHT: f64 = 720.0;
const TOP: f64 = 70.0;
const ROW: f64 = 20.0;

impl Forest {
    /// As a document.
    #[must_use]
    pub fn svg(&self) -> String {
        let bottom = TOP + ROW * self.rows.len().max(1) as f64;
        let mut svg = Svg::new(WIDTH, bottom + 62.0, &self.title, &self.subtitle);
        svg.bold_text((20.0, 28.0), Anchor::Start, 17.0, &self.title);
        svg.text((20.0, 49.0), Anchor::Start, 12.5, &self.subtitle);
        let ends = self.rows.iter().flat_map(|row| {
            let (low, high) = row.interval.unwrap_or((row.middle, row.middle));
            [low, high, row.middle]
        });
        let (low, high) = ends
            .filter(|value| value.is_finite() && *value > 0.0)
            .fold((1.0_f64, 1.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let scale = Scale::logarithmic(low / 1.03, high * 1.03);
        let place = |value: f64| LEFT + (RIGHT - LEFT) * scale.part(value);
        for (value, text) in scale.ticks() {
            svg.line((place(value), TOP), (place(value), bottom), "#eeeeee", 1.0);
            svg.text((place(value), bottom + 18.0), Anchor::Middle, 12.5, &text);
        }
        svg.line((place(1.0), TOP), (place(1.0), bottom), INK, 1.0);
        svg.line((LEFT, bottom), (RIGHT, bottom), INK, 1.2);
        svg.text(((LEFT + RIGHT) / 2.0, bottom + 44.0), Anchor::Middle, 14.0, &scale.labelled(&self.label));
        for (index, row) in self.rows.iter().enumerate() {
            let y = TOP + ROW * (index as f64 + 0.5);
            let is_clear = row.interval.is_some_and(|(low, high)| low > 1.0 || high < 1.0);
            let colour = if is_clear { PALETTE[0] } else { "#777777" };
            svg.text((LEFT - 12.0, y + 4.3), Anchor::End, 12.5, &shortened(&row.name, 32));
            if let Some((low, high)) = row.interval {
                svg.line((place(low), y), (place(high), y), colour, 2.4);
            }
            svg.dot((place(row.middle), y), 4.0, colour);
            svg.text((RIGHT + 14.0, y + 4.3), Anchor::Start, 12.5, &row.note);
        }
        svg.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_interval_beside_one_is_drawn_in_colour() {
        let drawn = |interval| {
            let row = ForestRow { name: "a".to_owned(), middle: 11.5, interval, note: String::new() };
            let text = |text: &str| text.to_owned();
            Forest { title: text("t"), subtitle: text("s"), label: text("ratio"), rows: vec![row] }.svg()
        };
        assert!(drawn(Some((11.0, 12.0))).contains(PALETTE[0]));
        assert!(!drawn(Some((0.9, 12.0))).contains(PALETTE[0]));
        assert!(!drawn(None).contains(PALETTE[0]) && drawn(None).contains("ratio, logarithmic"));
    }
}
