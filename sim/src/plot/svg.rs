//! An SVG document as it is written: rectangles, lines, text.

use std::fmt::Write as _;

use super::INK;

/// Where text stands to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// What marks a point of a line. Each but the first is hollow and of a size of its own, so that all are seen where they lie on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A small dot.
    Dot,
    /// A square.
    Square,
    /// A square on its corner.
    Diamond,
    /// A triangle that points up.
    Up,
    /// A triangle that points down.
    Down,
    /// A cross on its side.
    Cross,
    /// An upright cross.
    Plus,
    /// A ring.
    Ring,
}

impl Marker {
    /// All, in the order in which lines take them.
    pub const ALL: [Self; 8] =
        [Self::Dot, Self::Square, Self::Diamond, Self::Up, Self::Down, Self::Cross, Self::Plus, Self::Ring];
}

/// A document under way.
#[derive(Clone, Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    head: String,
    body: String,
}

/// Text as it may stand in XML.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML 1.0 has no way to say these.
            letter if letter.is_control() && !matches!(letter, '\n' | '\t' | '\r') => {
                escaped.push('\u{fffd}');
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A coordinate with two digits at most.
fn place(value: f64) -> String {
    let text = super::numbers::fixed(value, 2);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Svg {
    /// An empty white sheet. Title and description are for screen readers and tooltips.
    #[must_use]
    pub fn new(width: f64, height: f64, title: &str, description: &str) -> Self {
        let mut head = String::new();
        let _ = writeln!(head, "<title>{}</title>", escaped(title));
        let _ = writeln!(head, "<desc>{}</desc>", escaped(description));
        Self { width, height, head, body: String::new() }
    }

    /// A filled rectangle, with a tooltip where it is not empty.
    pub fn rectangle(&mut self, corner: (f64, f64), size: (f64, f64), fill: &str, tooltip: &str) {
        let (x, y, width, height) = (place(corner.0), place(corner.1), place(size.0), place(size.1));
        let _ = write!(
            self.body,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{fill}\""
        );
        if tooltip.is_empty() {
            self.body.push_str("/>\n");
        } else {
            let _ = writeln!(self.body, "><title>{}</title></rect>", escaped(tooltip));
        }
    }

    /// A line between two points.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, width: f64) {
        let (x1, y1, x2, y2) = (place(from.0), place(from.1), place(to.0), place(to.1));
        let width = place(width);
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>"
        );
    }

    /// A line through points, with a pattern of dashes where it is not empty.
    pub fn polyline(&mut self, points: &[(f64, f64)], stroke: &str, width: f64, dash: &str) {
        let width = place(width);
        let _ = write!(
            self.body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\" \
             stroke-linejoin=\"round\"",
            joined(points)
        );
        if !dash.is_empty() {
            let _ = write!(self.body, " stroke-dasharray=\"{dash}\"");
        }
        self.body.push_str("/>\n");
    }

    /// A filled area that what is below shines through.
    pub fn area(&mut self, points: &[(f64, f64)], fill: &str) {
        let _ = writeln!(
            self.body,
            "<polygon points=\"{}\" fill=\"{fill}\" fill-opacity=\"0.15\"/>",
            joined(points)
        );
    }

    /// A dot.
    pub fn dot(&mut self, at: (f64, f64), radius: f64, fill: &str) {
        let (x, y, radius) = (place(at.0), place(at.1), place(radius));
        let _ = writeln!(self.body, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"{fill}\"/>");
    }

    /// A marker around a point.
    pub fn marker(&mut self, marker: Marker, at: (f64, f64), stroke: &str) {
        let (x, y) = at;
        let path = |steps: &[(f64, f64)], end: &str| {
            let corners: Vec<String> = steps
                .iter()
                .map(|(right, down)| format!("{} {}", place(x + right), place(y + down)))
                .collect();
            format!("M{}{end}", corners.join("L"))
        };
        let drawn = match marker {
            Marker::Dot => return self.dot(at, 3.2, stroke),
            Marker::Ring => {
                let (x, y) = (place(x), place(y));
                let _ = writeln!(
                    self.body,
                    "<circle cx=\"{x}\" cy=\"{y}\" r=\"7\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"1.6\"/>"
                );
                return;
            }
            Marker::Square => path(&[(-4.6, -4.6), (4.6, -4.6), (4.6, 4.6), (-4.6, 4.6)], "Z"),
            Marker::Diamond => path(&[(0.0, -8.2), (8.2, 0.0), (0.0, 8.2), (-8.2, 0.0)], "Z"),
            Marker::Up => path(&[(0.0, -8.0), (7.0, 4.5), (-7.0, 4.5)], "Z"),
            Marker::Down => path(&[(0.0, 8.0), (7.0, -4.5), (-7.0, -4.5)], "Z"),
            Marker::Cross => path(&[(-5.5, -5.5), (5.5, 5.5)], "") + &path(&[(-5.5, 5.5), (5.5, -5.5)], ""),
            Marker::Plus => path(&[(0.0, -8.0), (0.0, 8.0)], "") + &path(&[(-8.0, 0.0), (8.0, 0.0)], ""),
        };
        let _ = writeln!(
            self.body,
            "<path d=\"{drawn}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"1.6\"/>"
        );
    }

    /// A line of text in ink; its baseline is at the point.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, size: f64, text: &str) {
        self.styled_text(at, anchor, size, INK, "", text);
    }

    /// The same in bold.
    pub fn bold_text(&mut self, at: (f64, f64), anchor: Anchor, size: f64, text: &str) {
        self.styled_text(at, anchor, size, INK, " font-weight=\"bold\"", text);
    }

    /// Text in a colour.
    pub fn coloured_text(&mut self, at: (f64, f64), anchor: Anchor, size: f64, fill: &str, text: &str) {
        self.styled_text(at, anchor, size, fill, "", text);
    }

    /// Text that reads upwards.
    pub fn upward_text(&mut self, at: (f64, f64), anchor: Anchor, size: f64, text: &str) {
        let turn = format!(" transform=\"rotate(-90 {} {})\"", place(at.0), place(at.1));
        self.styled_text(at, anchor, size, INK, &turn, text);
    }

    fn styled_text(
        &mut self,
        at: (f64, f64),
        anchor: Anchor,
        size: f64,
        fill: &str,
        style: &str,
        text: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y, size, text) = (place(at.0), place(at.1), place(size), escaped(text));
        let _ = writeln!(
            self.body,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{fill}\"{style}>{text}</text>"
        );
    }

    /// The document.
    #[must_use]
    pub fn finish(self) -> String {
        let (width, height) = (place(self.width), place(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" font-family=\"Helvetica, Arial, 'Liberation Sans', sans-serif\">\n\
             {}<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.head, self.body
        )
    }
}

fn joined(points: &[(f64, f64)]) -> String {
    let mut text = String::with_capacity(points.len() * 14);
    for (index, (x, y)) in points.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        let _ = write!(text, "{},{}", place(*x), place(*y));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_document_is_escaped() {
        let mut svg = Svg::new(100.0, 50.0, "a < b & c", "\u{1}");
        svg.text((1.0, 2.005), Anchor::End, 12.0, "\"x\" > 'y'");
        let text = svg.finish();
        assert!(text.contains("<title>a &lt; b &amp; c</title>"), "{text}");
        assert!(text.contains("&quot;x&quot; &gt; &#39;y&#39;"), "{text}");
        assert!(!text.contains('\u{1}'), "{text}");
    }
}
