//! Critical-difference diagrams (Demšar 2006): mean ranks on a line, and bars over those that do not differ.

use super::chart::shortened;
use super::numbers::fixed;
use super::svg::{Anchor, Svg};
use super::{INK, PALETTE};

/// One of those compared.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedName {
    /// Its name.
    pub name: String,
    /// Its mean rank; 1 is best.
    pub rank: f64,
}

/// The diagram.
#[derive(Clone, Debug)]
pub struct DifferenceDiagram {
    /// Above.
    pub title: String,
    /// The test, and of how many.
    pub subtitle: String,
    /// By rising rank.
    pub names: Vec<RankedName>,
    /// Ranks that differ by less are not told apart.
    pub critical_difference: f64,
}

const WIDTH: f64 = 940.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 690.0;
const AXIS: f64 = 118.0;
const ROW: f64 = 19.0;
const BAR: f64 = 7.0;

impl DifferenceDiagram {
    /// Runs of names, by first and last place, whose ranks are all within the critical difference, none inside
    /// another.
    #[must_use]
    pub fn groups(&self) -> Vec<(usize, usize)> {
        let mut groups: Vec<(usize, usize)> = Vec::new();
        for first in 0..self.names.len() {
            let is_near =
                |last: &usize| self.names[*last].rank - self.names[first].rank <= self.critical_difference;
            let last = (first..self.names.len()).take_while(is_near).last().unwrap_or(first);
            if last > first && groups.last().is_none_or(|(_, before)| last > *before) {
                groups.push((first, last));
            }
        }
        groups
    }

    /// As a document.
    #[must_use]
    pub fn svg(&self) -> String {
        let groups = self.groups();
        let half = self.names.len().div_ceil(2);
        let first_row = AXIS + 22.0 + BAR * groups.len() as f64;
        let height = first_row + ROW * half as f64 + 24.0;
        let mut svg = Svg::new(WIDTH, height, &self.title, &self.subtitle);
        svg.bold_text((20.0, 28.0), Anchor::Start, 17.0, &self.title);
        svg.text((20.0, 49.0), Anchor::Start, 12.5, &self.subtitle);
        let high = self.names.len().max(2) as f64;
        let place = |rank: f64| LEFT + (RIGHT - LEFT) * (rank - 1.0) / (high - 1.0);
        self.draw_axis(&mut svg, &place, high);
        for (index, entry) in self.names.iter().enumerate() {
            let is_left = index < half;
            let row = if is_left { index } else { self.names.len() - 1 - index };
            let (x, y) = (place(entry.rank), first_row + ROW * (row as f64 + 0.5));
            let text = format!("{} ({})", shortened(&entry.name, 26), fixed(entry.rank, 2));
            let (edge, anchor, gap) =
                if is_left { (LEFT - 14.0, Anchor::End, -6.0) } else { (RIGHT + 14.0, Anchor::Start, 6.0) };
            svg.polyline(&[(x, AXIS), (x, y), (edge, y)], "#777777", 0.9, "");
            svg.text((edge + gap, y + 4.3), anchor, 12.5, &text);
        }
        for (level, (first, last)) in groups.iter().enumerate() {
            let y = AXIS + 14.0 + BAR * level as f64;
            let (from, to) = (place(self.names[*first].rank) - 4.0, place(self.names[*last].rank) + 4.0);
            svg.line((from, y), (to, y), PALETTE[1], 3.6);
        }
        svg.finish()
    }

    fn draw_axis(&self, svg: &mut Svg, place: &dyn Fn(f64) -> f64, high: f64) {
        let step = (high / 12.0).ceil().max(1.0) as usize;
        svg.line((LEFT, AXIS), (RIGHT, AXIS), INK, 1.2);
        for rank in (1..=high as usize).step_by(step) {
            let x = place(rank as f64);
            svg.line((x, AXIS - 5.0), (x, AXIS), INK, 1.0);
            svg.text((x, AXIS - 10.0), Anchor::Middle, 12.5, &rank.to_string());
        }
        svg.text((LEFT - 20.0, AXIS - 10.0), Anchor::End, 12.5, "mean rank, 1 is best");
        let (from, to) = (place(1.0), place((1.0 + self.critical_difference).min(high)));
        svg.line((from, AXIS - 34.0), (to, AXIS - 34.0), INK, 2.0);
        let text = format!("critical difference {}", fixed(self.critical_difference, 2));
        svg.text((to + 10.0, AXIS - 30.0), Anchor::Start, 12.5, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_the_longest_runs_within_the_difference() {
        let ranks = [1.0, 1.8, 2.2, 4.0, 4.5];
        let names = ranks.iter().map(|rank| RankedName { name: format!("p{rank}"), rank: *rank }).collect();
        let mut diagram = DifferenceDiagram {
            title: "t".to_owned(),
            subtitle: "s".to_owned(),
            names,
            critical_difference: 1.0,
        };
        assert_eq!(diagram.groups(), [(0, 1), (1, 2), (3, 4)]);
        diagram.critical_difference = 1.5;
        assert_eq!(diagram.groups(), [(0, 2), (3, 4)]);
        assert!(diagram.svg().contains("critical difference 1.50"));
    }
}
