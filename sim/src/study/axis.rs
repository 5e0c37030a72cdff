//! The axis of a report: its values in order, and how they are told to people.

use super::comparison::Row;
use super::grid::Study;
use crate::plot::duration;

/// A value of the axis, as it is told, and the rows that have it.
pub(super) type AxisGroups<'a> = Vec<(f64, String, Vec<&'a Row>)>;

/// The values of the axis and the rows at each, by rising value.
pub(super) fn by_axis<'a>(study: &Study, rows: &[&'a Row]) -> AxisGroups<'a> {
    let Some(axis) = &study.file.report.axis else { return Vec::new() };
    let mut groups: AxisGroups<'_> = Vec::new();
    for row in rows {
        let Some(text) = study.clusters[row.instance.cluster].parameters.get(axis) else { continue };
        let Ok(value) = text.parse::<f64>() else { continue };
        match groups.iter_mut().find(|(known, _, _)| *known == value) {
            Some((_, _, rows)) => rows.push(row),
            None => groups.push((value, told(axis, value, text), vec![row])),
        }
    }
    groups.sort_by(|left, right| left.0.total_cmp(&right.0));
    groups
}

/// What the axis is called: without the unit of a time, since its values have theirs.
pub(super) fn axis_label(study: &Study) -> String {
    let report = &study.file.report;
    let Some(axis) = &report.axis else { return String::new() };
    let Some((stem, unit, _)) = time(axis) else {
        return report.axis_label.clone().unwrap_or_else(|| axis.clone());
    };
    match &report.axis_label {
        Some(label) => {
            let label = label.trim_end();
            label.strip_suffix(&format!("({unit})")).unwrap_or(label).trim_end().to_owned()
        }
        None => stem.replace('_', " "),
    }
}

/// A name such as `latency_us`: what is before the unit, the unit, and its nanoseconds.
fn time(axis: &str) -> Option<(&str, &str, f64)> {
    let (stem, unit) = axis.rsplit_once('_')?;
    let nanos = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    Some((stem, unit, nanos))
}

/// A value of the axis for people: a time in the unit that reads best.
fn told(axis: &str, value: f64, text: &str) -> String {
    match time(axis) {
        Some((_, _, unit)) if value > 0.0 => duration(value * unit, value * unit, 6),
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_reads_best() {
        let texts = [0.0, 0.5, 100.0, 1500.0, 150_000.0, 1_500_000.0]
            .map(|value| told("latency_us", value, &value.to_string()));
        assert_eq!(texts, ["0", "500 ns", "100 us", "1.5 ms", "150 ms", "1.5 s"]);
        assert_eq!(told("wait_s", 0.02, "0.02"), "20 ms");
        assert_eq!(told("bandwidth_mbit", 1000.0, "1000"), "1000");
        assert_eq!(told("agents", 1000.0, "1000"), "1000");
    }
}
