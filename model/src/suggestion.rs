//! Near misses: the known name that a wrong one most likely meant.
//!
//! Must never hold a list of names.

/// The candidate closest to `name`, if any is close enough to be a slip of the keyboard.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let distance_max = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= distance_max && distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

/// `; did you mean NAME?` with the candidate closest to `name`, to be put behind an error; empty where none is close.
#[must_use]
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or(String::new(), |candidate| format!("; did you mean `{candidate}`?"))
}

/// The number of insertions, removals, replacements and swaps of neighbours that turn one text into the other.
fn edit_distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(64).collect();
    let right: Vec<char> = right.chars().take(64).collect();
    let mut before_previous: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for row in 1..=left.len() {
        let mut current = vec![row];
        for column in 1..=right.len() {
            let same = left[row - 1] == right[column - 1];
            let mut best = (previous[column - 1] + usize::from(!same))
                .min(previous[column] + 1)
                .min(current[column - 1] + 1);
            let swapped = row > 1
                && column > 1
                && left[row - 1] == right[column - 2]
                && left[row - 2] == right[column - 1];
            if swapped {
                best = best.min(before_previous[column - 2] + 1);
            }
            current.push(best);
        }
        before_previous = std::mem::replace(&mut previous, current);
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, nearest};

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let known = ["global", "local", "label", "after"];
        assert_eq!(nearest("gobal", known), Some("global".to_owned()));
        assert_eq!(nearest("lable", known), Some("label".to_owned()));
        assert_eq!(nearest("afetr", known), Some("after".to_owned()));
        assert_eq!(nearest("pattern", known), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(did_you_mean("gobal", known), "; did you mean `global`?");
        assert_eq!(did_you_mean("pattern", known), "");
    }
}
