//! Lines over two axes, with a legend.

use super::svg::{Anchor, Marker, Svg};
use super::{DASHES, GREY, INK, PALETTE, Scale};

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it measures, with the unit.
    pub label: String,
    /// How values lie along it.
    pub scale: Scale,
    /// What is marked; `None` for the scale's own ticks.
    pub ticks: Option<Vec<(f64, String)>>,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// In a colour and pattern of its own, by number, and in the legend.
    Own(usize),
    /// Grey, behind all others, and not in the legend.
    Background,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// By rising x.
    pub points: Vec<(f64, f64)>,
    /// An interval of y at each x, drawn as an area; may be empty.
    pub band: Vec<(f64, f64, f64)>,
    /// How it looks.
    pub stroke: Stroke,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Above the chart.
    pub title: String,
    /// Below the title: what was counted, and how many.
    pub subtitle: String,
    /// Below.
    pub x: Axis,
    /// At the left.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
    /// Whether values hold until the next one, as in distributions; else points are joined and marked.
    pub is_stepped: bool,
}

const WIDTH: f64 = 950.0;
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 452.0;
/// Letters of a name in the legend.
const NAME_LETTERS_MAX: usize = 28;
const LEGEND_ROW: f64 = 22.0;

impl Chart {
    /// As a document.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = Svg::new(WIDTH, HEIGHT, &self.title, &self.subtitle);
        svg.bold_text((LEFT, 28.0), Anchor::Start, 17.0, &self.title);
        svg.text((LEFT, 49.0), Anchor::Start, 12.5, &self.subtitle);
        self.draw_axes(&mut svg);
        let is_background = |series: &&Series| series.stroke == Stroke::Background;
        for series in self.series.iter().filter(is_background) {
            self.draw(&mut svg, series);
        }
        // The first is whole and below: where others lie on it, it shows through their gaps.
        let own = || self.series.iter().filter(|series| !is_background(series));
        for series in own() {
            self.draw(&mut svg, series);
        }
        if !self.is_stepped {
            for series in own() {
                for (x, y) in &series.points {
                    let look = Look::of(series.stroke);
                    svg.marker(look.marker, self.place(*x, *y), look.colour);
                }
            }
        }
        self.draw_legend(&mut svg);
        svg.finish()
    }

    fn place(&self, x: f64, y: f64) -> (f64, f64) {
        (LEFT + (RIGHT - LEFT) * self.x.scale.part(x), BOTTOM - (BOTTOM - TOP) * self.y.scale.part(y))
    }

    fn draw_axes(&self, svg: &mut Svg) {
        let mut free = f64::NEG_INFINITY;
        for (value, text) in self.x.ticks.clone().unwrap_or_else(|| self.x.scale.ticks()) {
            let x = LEFT + (RIGHT - LEFT) * self.x.scale.part(value);
            svg.line((x, TOP), (x, BOTTOM), "#eeeeee", 1.0);
            svg.line((x, BOTTOM), (x, BOTTOM + 5.0), INK, 1.0);
            // Where there is no room beside the last text, one is written lower.
            let half = text.chars().count() as f64 * 3.8;
            let is_crowded = x - half < free;
            free = if is_crowded { f64::NEG_INFINITY } else { x + half };
            svg.text((x, BOTTOM + if is_crowded { 32.0 } else { 20.0 }), Anchor::Middle, 12.5, &text);
        }
        for (value, text) in self.y.ticks.clone().unwrap_or_else(|| self.y.scale.ticks()) {
            let y = BOTTOM - (BOTTOM - TOP) * self.y.scale.part(value);
            svg.line((LEFT, y), (RIGHT, y), "#eeeeee", 1.0);
            svg.line((LEFT - 5.0, y), (LEFT, y), INK, 1.0);
            svg.text((LEFT - 9.0, y + 4.3), Anchor::End, 12.5, &text);
        }
        svg.line((LEFT, BOTTOM), (RIGHT, BOTTOM), INK, 1.2);
        svg.line((LEFT, TOP), (LEFT, BOTTOM), INK, 1.2);
        svg.text(
            ((LEFT + RIGHT) / 2.0, BOTTOM + 54.0),
            Anchor::Middle,
            14.0,
            &self.x.scale.labelled(&self.x.label),
        );
        svg.upward_text(
            (22.0, (TOP + BOTTOM) / 2.0),
            Anchor::Middle,
            14.0,
            &self.y.scale.labelled(&self.y.label),
        );
    }

    fn draw(&self, svg: &mut Svg, series: &Series) {
        let look = Look::of(series.stroke);
        if !series.band.is_empty() {
            let lower = series.band.iter().map(|(x, low, _)| self.place(*x, *low));
            let upper = series.band.iter().rev().map(|(x, _, high)| self.place(*x, *high));
            svg.area(&lower.chain(upper).collect::<Vec<_>>(), look.colour);
        }
        let mut places: Vec<(f64, f64)> = Vec::with_capacity(series.points.len() * 2);
        for (x, y) in &series.points {
            let at = self.place(*x, *y);
            if self.is_stepped {
                // Thousands of steps that no eye can tell apart would only make the file large.
                let is_near = |(x, y): &(f64, f64)| (at.0 - x).abs() < 0.7 && (at.1 - y).abs() < 0.7;
                if places.last().is_some_and(is_near) {
                    continue;
                }
                if let Some((_, before)) = places.last().copied() {
                    places.push((at.0, before));
                }
            }
            places.push(at);
        }
        if self.is_stepped
            && let Some((x, y)) = series.points.last()
        {
            let last = self.place(*x, *y);
            places.extend([last, (RIGHT, last.1)]);
        }
        svg.polyline(&places, look.colour, look.width, look.dash);
    }

    fn draw_legend(&self, svg: &mut Svg) {
        let mut y = TOP + 8.0;
        for series in self.series.iter().filter(|series| series.stroke != Stroke::Background) {
            let look = Look::of(series.stroke);
            svg.polyline(&[(RIGHT + 18.0, y), (RIGHT + 62.0, y)], look.colour, look.width, look.dash);
            if !self.is_stepped {
                svg.marker(look.marker, (RIGHT + 40.0, y), look.colour);
            }
            svg.text(
                (RIGHT + 69.0, y + 4.3),
                Anchor::Start,
                12.5,
                &shortened(&series.name, NAME_LETTERS_MAX),
            );
            y += LEGEND_ROW;
        }
        let background = self.series.iter().filter(|series| series.stroke == Stroke::Background).count();
        if background > 0 {
            svg.polyline(&[(RIGHT + 18.0, y), (RIGHT + 62.0, y)], GREY, 1.1, "");
            let others = if background == 1 { "1 other".to_owned() } else { format!("{background} others") };
            svg.text((RIGHT + 69.0, y + 4.3), Anchor::Start, 12.5, &others);
        }
    }
}

/// What tells a line from others: neither colour nor pattern alone does for everybody.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    colour: &'static str,
    width: f64,
    dash: &'static str,
    marker: Marker,
}

impl Look {
    fn of(stroke: Stroke) -> Self {
        match stroke {
            // Seven colours and eight patterns have no common factor: no pair comes again before all have been used.
            Stroke::Own(number) => Self {
                colour: PALETTE[number % PALETTE.len()],
                width: if number % DASHES.len() == 0 { 2.8 } else { 2.2 },
                dash: DASHES[number % DASHES.len()],
                marker: Marker::ALL[number % Marker::ALL.len()],
            },
            Stroke::Background => Self { colour: GREY, width: 1.1, dash: "", marker: Marker::Dot },
        }
    }
}

/// Text that has at most so many letters.
pub(super) fn shortened(text: &str, letters_max: usize) -> String {
    if text.chars().count() <= letters_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(letters_max.saturating_sub(1)).collect();
    format!("{kept}\u{2026}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_differ_in_colour_or_pattern() {
        let looks: Vec<_> =
            (0..PALETTE.len() * DASHES.len()).map(|number| Look::of(Stroke::Own(number))).collect();
        for (place, one) in looks.iter().enumerate() {
            let differs = |other: &Look| (one.colour, one.dash) != (other.colour, other.dash);
            assert!(looks[..place].iter().all(differs), "{place}");
        }
        // Without any colour the first eight differ still, and only the lowest of them has no gaps.
        for (place, one) in looks[..8].iter().enumerate() {
            assert!(looks[..place].iter().all(|other| one.marker != other.marker && one.dash != other.dash));
            assert_eq!(one.dash.is_empty(), place == 0);
        }
    }

    /// Of two lines with the same points both are there, each with its own pattern and markers, the whole one below.
    #[test]
    fn lines_on_each_other_are_both_drawn() {
        let series = |number: usize| Series {
            name: format!("line {number}"),
            points: vec![(1.0, 1.0), (2.0, 1.5)],
            band: Vec::new(),
            stroke: Stroke::Own(number),
        };
        let axis =
            |label: &str| Axis { label: label.to_owned(), scale: Scale::linear(0.0, 2.0), ticks: None };
        let chart = Chart {
            title: "t".to_owned(),
            subtitle: "s".to_owned(),
            x: axis("x"),
            y: axis("y"),
            series: vec![series(0), series(1)],
            is_stepped: false,
        };
        let svg = chart.svg();
        let place = |text: &str| svg.find(text).unwrap_or_else(|| panic!("no {text} in {svg}"));
        let whole = place("stroke=\"#0072b2\" stroke-width=\"2.8\" stroke-linejoin=\"round\"/>");
        let dashed = place(
            "stroke=\"#d55e00\" stroke-width=\"2.2\" stroke-linejoin=\"round\" stroke-dasharray=\"10 6\"",
        );
        assert!(whole < dashed);
        // Two points and the legend.
        assert_eq!(svg.matches("<circle").count(), 3);
        assert_eq!(svg.matches("<path").count(), 3);
    }
}
