//! What a study found, in sentences: who is best, where along the axis, and by how much; who ties.
//!
//! Must never say more than the numbers do: what they do not tell apart is a tie.

use std::collections::BTreeMap;

use super::axis::by_axis;
use super::comparison::{Comparison, Row, TIE};
use super::figures::{BOOTSTRAP_SEED, conditions, rows_of};
use super::grid::Study;
use crate::plot::{counted, fixed, significant};
use crate::statistics::{geometric_mean, ratio_interval};

/// Names that are listed; of more it is said how many.
const NAMES_MAX: usize = 4;
/// Of so many policies each is told of; of more the next best alone.
const EACH_MAX: usize = 4;
/// What takes longer by more than this on average is no tie, even where graphs differ so much that the interval holds 1: it is said apart.
pub(super) const NEAR: f64 = 1.05;

/// How policies stand on some instances.
pub(super) struct Place {
    /// The value of the axis, as it is told; empty where there is none.
    pub value: String,
    /// By policy, the geometric mean of makespan over the instance's best.
    pub mean_ratios: Vec<f64>,
    /// By policy, the geometric mean of makespan over the leader's; not a number where it is not ranked.
    pub to_leader: Vec<f64>,
    /// Policies from the best to the worst, those that tie together: first those that are not told from the leader.
    pub ranks: Vec<Vec<usize>>,
    /// Policies that take longer on average, but are better on so many graphs that the interval holds 1.
    pub undecided: Vec<usize>,
}

/// What was found in a condition.
pub(super) struct Finding {
    /// The network and knowledge; empty for all of them together.
    pub condition: String,
    /// Along the axis; one where there is none.
    pub places: Vec<Place>,
    /// All of it.
    pub sentence: String,
}

/// What was found in each condition, in the order of the grid; where there is no axis, first in all together.
pub(super) fn findings(study: &Study, comparison: &Comparison) -> Vec<Finding> {
    if comparison.rows.is_empty() {
        return Vec::new();
    }
    let all: Vec<&Row> = comparison.rows.iter().collect();
    let policies = &comparison.policies;
    let has_axis = by_axis(study, &all).len() > 1;
    let conditions = conditions(study);
    let mut found = Vec::new();
    if !has_axis {
        let place = Place::new(study, comparison, "", &all);
        let sentence = on_average(policies, &place, all.len());
        found.push(Finding { condition: String::new(), places: vec![place], sentence });
        if conditions.len() == 1 {
            return found;
        }
    }
    for (network, knowledge, condition) in conditions {
        let rows = rows_of(comparison, network, knowledge);
        if rows.is_empty() {
            continue;
        }
        let (places, sentence) = if has_axis {
            let along = by_axis(study, &rows);
            let of = |(_, value, rows): &(f64, String, Vec<&Row>)| Place::new(study, comparison, value, rows);
            let places: Vec<Place> = along.iter().map(of).collect();
            let sentence = along_axis(policies, &places);
            (places, sentence)
        } else {
            let place = Place::new(study, comparison, "", &rows);
            let sentence = on_average(policies, &place, rows.len());
            (vec![place], sentence)
        };
        found.push(Finding { condition, places, sentence });
    }
    found
}

impl Finding {
    /// The sentence with its condition before it.
    pub fn line(&self) -> String {
        if self.condition.is_empty() {
            self.sentence.clone()
        } else {
            format!("{}: {}", self.condition, self.sentence)
        }
    }
}

impl Place {
    fn new(study: &Study, comparison: &Comparison, value: &str, rows: &[&Row]) -> Self {
        let count = comparison.policies.len();
        // What no policy could run says nothing about any.
        let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.best().is_finite()).collect();
        let mean_ratios = comparison.mean_ratios(&rows);
        let mut order: Vec<usize> = (0..count)
            .filter(|policy| !rows.is_empty() && rows.iter().all(|row| row.makespans[*policy].is_finite()))
            .collect();
        order.sort_by(|left, right| mean_ratios[*left].total_cmp(&mean_ratios[*right]));
        let mut place = Self {
            value: value.to_owned(),
            mean_ratios,
            to_leader: vec![f64::NAN; count],
            ranks: Vec::new(),
            undecided: Vec::new(),
        };
        let Some(leader) = order.first().copied() else { return place };
        for policy in &order {
            let ratios = rows.iter().map(|row| row.makespans[*policy] / row.makespans[leader]);
            place.to_leader[*policy] = geometric_mean(ratios);
        }
        let printed = |policy: usize| fixed(place.mean_ratios[policy], 2);
        let is_even = |policy: usize| place.to_leader[policy] < TIE || printed(policy) == printed(leader);
        let apart = order.iter().copied().filter(|policy| !is_even(*policy));
        let open: Vec<usize> =
            apart.filter(|policy| is_not_told_apart(study, &rows, *policy, leader, count)).collect();
        let leads =
            |policy: &usize| is_even(*policy) || (open.contains(policy) && place.to_leader[*policy] < NEAR);
        let (leaders, others): (Vec<usize>, Vec<usize>) = order.iter().copied().partition(leads);
        let undecided = open.iter().copied().filter(|policy| !leaders.contains(policy)).collect();
        let mut ranks = vec![leaders];
        for policy in others {
            match ranks[1..].last_mut() {
                Some(last) if printed(last[0]) == printed(policy) => last.push(policy),
                Some(_) | None => ranks.push(vec![policy]),
            }
        }
        place.ranks = ranks;
        place.undecided = undecided;
        place
    }

    fn leaders(&self) -> &[usize] {
        self.ranks.first().map_or(&[], Vec::as_slice)
    }

    /// How many times as long those that tie for a rank take, each by name.
    pub fn told(&self, rank: &[usize], name: impl Fn(usize) -> String) -> String {
        let ratio = |policy: usize| fixed(self.mean_ratios[policy], 2);
        let is_one = rank.iter().all(|policy| ratio(*policy) == ratio(rank[0]));
        let shown = if rank.len() > NAMES_MAX + 1 { &rank[..NAMES_MAX] } else { rank };
        let mut parts: Vec<String> = shown
            .iter()
            .map(
                |policy| if is_one { name(*policy) } else { format!("{} {}", name(*policy), ratio(*policy)) },
            )
            .collect();
        if shown.len() < rank.len() {
            parts.push(format!("{} more", rank.len() - shown.len()));
        }
        let text = parts.join(" = ");
        if is_one { format!("{text} {}", ratio(rank[0])) } else { text }
    }
}

/// Whether the interval of a policy's ratio to the leader holds 1; only graphs that can be drawn anew give one.
fn is_not_told_apart(study: &Study, rows: &[&Row], policy: usize, leader: usize, policies: usize) -> bool {
    let mut graphs: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for row in rows {
        graphs.entry(row.instance.graph).or_default().push(row.makespans[policy] / row.makespans[leader]);
    }
    let graphs: Vec<Vec<f64>> = graphs.into_values().collect();
    // Where each graph says the same, so does each draw of them.
    if graphs.len() < 2 || graphs.iter().all(|ratios| geometric_mean(ratios.iter().copied()) > 1.0) {
        return false;
    }
    let report = &study.file.report;
    let confidence = 1.0 - (1.0 - report.confidence) / (policies - 1).max(1) as f64;
    ratio_interval(&graphs, confidence, report.resamples, BOOTSTRAP_SEED)
        .is_some_and(|interval| interval.low <= 1.0 && interval.high >= 1.0)
}

/// Values of the axis one after another with a leader in common.
struct Stretch<'a> {
    places: &'a [Place],
    /// Who leads or ties for the lead at all of them; empty where nobody is ranked.
    core: Vec<usize>,
}

fn stretches(places: &[Place]) -> Vec<Stretch<'_>> {
    let mut found: Vec<(usize, usize, Vec<usize>)> = Vec::new();
    for (index, place) in places.iter().enumerate() {
        let leaders = place.leaders();
        if let Some((_, end, core)) = found.last_mut() {
            let common: Vec<usize> = core.iter().copied().filter(|policy| leaders.contains(policy)).collect();
            if !common.is_empty() || (core.is_empty() && leaders.is_empty()) {
                (*end, *core) = (index + 1, common);
                continue;
            }
        }
        found.push((index, index + 1, leaders.to_vec()));
    }
    found.into_iter().map(|(begin, end, core)| Stretch { places: &places[begin..end], core }).collect()
}

/// Who leads where along the axis, and by how much.
fn along_axis(policies: &[String], places: &[Place]) -> String {
    let stretches = stretches(places);
    let last = stretches.len().saturating_sub(1);
    let mut clauses = Vec::new();
    for (index, stretch) in stretches.iter().enumerate() {
        let (first_value, last_value) = match stretch.places {
            [first, .., last] => (first.value.as_str(), Some(last.value.as_str())),
            [only] => (only.value.as_str(), None),
            [] => continue,
        };
        let range = match last_value {
            Some(value) if last == 0 => format!("throughout, from {first_value} to {value}"),
            Some(value) if index == 0 => format!("up to {value}"),
            Some(_) if index == last => format!("from {first_value} on"),
            Some(value) => format!("from {first_value} to {value}"),
            None => format!("at {first_value}"),
        };
        let has_led = stretches[..index].iter().any(|before| before.core == stretch.core);
        clauses.push(stretch.clause(policies, &range, has_led));
    }
    format!("{}.{}", clauses.join("; "), asides(policies, places))
}

impl Stretch<'_> {
    fn clause(&self, policies: &[String], range: &str, has_led: bool) -> String {
        let again = if has_led { "again " } else { "" };
        let others = self.others(policies);
        match self.core.as_slice() {
            [] => format!("{range} no policy finished all of its runs"),
            [leader] => {
                let is_alone = self.places.iter().all(|place| place.leaders().len() == 1);
                let leads = if is_alone { "leads" } else { "leads or ties" };
                format!("{} {again}{leads} {range}{others}", policies[*leader])
            }
            core if core.len() == policies.len() => format!("{} {again}tie {range}", all(policies)),
            core => format!("{} {again}tie {range}{others}", listed(policies, core)),
        }
    }

    /// In parentheses, how much longer the others take, and where they tie.
    fn others(&self, policies: &[String]) -> String {
        let others: Vec<usize> = (0..policies.len()).filter(|policy| !self.core.contains(policy)).collect();
        if policies.len() <= EACH_MAX {
            let each = others.iter().filter_map(|policy| self.told(&policies[*policy], *policy));
            in_parentheses(each.collect(), ", ")
        } else {
            in_parentheses(self.ties(policies).into_iter().chain(self.next(policies)).collect(), "; ")
        }
    }

    /// One of the others: `eager 1.02 to 1.10 times`.
    fn told(&self, name: &str, policy: usize) -> Option<String> {
        let tied: Vec<&str> = self
            .places
            .iter()
            .filter(|place| place.leaders().contains(&policy))
            .map(|place| place.value.as_str())
            .collect();
        let apart = self.places.iter().filter(|place| !place.leaders().contains(&policy));
        let ratios = range(apart.map(|place| place.to_leader[policy]));
        match (tied.as_slice(), ratios) {
            ([], None) => None,
            ([], Some(ratios)) => Some(format!("{name} {ratios} times")),
            (_, None) => Some(format!("{name} ties {}", at(&tied, self.places.len()))),
            (_, Some(ratios)) => {
                Some(format!("{name} ties {}, else {ratios} times", at(&tied, self.places.len())))
            }
        }
    }

    /// Who else leads, and where, of many.
    fn ties(&self, policies: &[String]) -> Option<String> {
        let is_other = |policy: &&usize| !self.core.contains(policy);
        let mut sets: Vec<Vec<usize>> = Vec::new();
        let mut values = Vec::new();
        for place in self.places {
            let mut with: Vec<usize> = place.leaders().iter().filter(is_other).copied().collect();
            with.sort_unstable();
            if !with.is_empty() {
                values.push(place.value.as_str());
                sets.push(with);
            }
        }
        let first = sets.first()?;
        if sets.iter().all(|set| set == first) {
            return Some(format!("tied with {} {}", listed(policies, first), at(&values, self.places.len())));
        }
        let mut others: Vec<usize> = sets.concat();
        others.sort_unstable();
        others.dedup();
        Some(format!("tied at some of them with {}", listed(policies, &others)))
    }

    /// The best of those that are told from the leaders, of many.
    fn next(&self, policies: &[String]) -> Option<String> {
        let next: Vec<(usize, f64)> = self
            .places
            .iter()
            .filter_map(|place| {
                let policy = *place.ranks.get(1)?.first()?;
                Some((policy, place.to_leader[policy]))
            })
            .collect();
        let first = next.first()?.0;
        let is_one = next.iter().all(|(policy, _)| *policy == first);
        let name = if is_one { format!("{}, the next,", policies[first]) } else { "the next".to_owned() };
        Some(format!("{name} {} times", range(next.iter().map(|(_, ratio)| *ratio))?))
    }
}

/// ` (eager 1.10 times, dls 1.20 times as long, bil ties at 0)`
fn in_parentheses(mut parts: Vec<String>, between: &str) -> String {
    if parts.is_empty() {
        return String::new();
    }
    if let Some(last) = parts.iter_mut().rfind(|part| part.ends_with(" times")) {
        last.push_str(" as long");
    }
    format!(" ({})", parts.join(between))
}

/// `at 1 ms and 5 ms`; of many values how many.
fn at(values: &[&str], of: usize) -> String {
    match values.len() {
        count if count > 3 => format!("at {count} of {of} values"),
        _ => match values.split_last() {
            Some((last, [])) => format!("at {last}"),
            Some((last, others)) => format!("at {} and {last}", others.join(", ")),
            None => String::new(),
        },
    }
}

/// `1.02 to 1.10`; what is not ranked is left out.
fn range(ratios: impl Iterator<Item = f64>) -> Option<String> {
    let ends = ratios.filter(|ratio| ratio.is_finite()).fold(None, |ends: Option<(f64, f64)>, ratio| {
        let (low, high) = ends.unwrap_or((ratio, ratio));
        Some((low.min(ratio), high.max(ratio)))
    });
    let (low, high) = ends?;
    let (low, high) = (times(low), times(high));
    Some(if low == high { low } else { format!("{low} to {high}") })
}

fn times(ratio: f64) -> String {
    if ratio < 10.0 { fixed(ratio, 2) } else { significant(ratio, 3) }
}

/// `a`, `a and b`, `a, b and c`; of many the first and how many more.
fn listed(policies: &[String], of: &[usize]) -> String {
    let shown = if of.len() > NAMES_MAX + 1 { &of[..NAMES_MAX] } else { of };
    let mut names: Vec<String> = shown.iter().map(|policy| policies[*policy].clone()).collect();
    if shown.len() < of.len() {
        names.push(format!("{} more", of.len() - shown.len()));
    }
    let last = names.pop().unwrap_or_default();
    if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) }
}

fn all(policies: &[String]) -> String {
    match policies.len() {
        2 => "both policies".to_owned(),
        count => format!("all {count} policies"),
    }
}

/// Who is best on average, and by how much.
fn on_average(policies: &[String], place: &Place, instances: usize) -> String {
    let average = if instances > 1 {
        format!(" on average over {}", counted(instances, "instance"))
    } else {
        String::new()
    };
    let leaders = place.leaders();
    let rest = asides(policies, std::slice::from_ref(place));
    let first = match leaders {
        [] => return format!("no policy finished all of its runs.{rest}"),
        [leader] => format!("{} is best{average}", policies[*leader]),
        leaders if leaders.len() == policies.len() => {
            return format!("{} tie{average}.{rest}", all(policies));
        }
        leaders => format!("{} tie as the best{average}", listed(policies, leaders)),
    };
    let others: Vec<usize> = place.ranks.iter().skip(1).flatten().copied().collect();
    let shown = if policies.len() <= EACH_MAX { others.len() } else { 1 };
    let next = if shown < others.len() { ", the next," } else { "" };
    let told: Vec<String> = others
        .iter()
        .take(shown)
        .map(|policy| format!("{}{next} {} times", policies[*policy], times(place.to_leader[*policy])))
        .collect();
    format!("{first}{}.{rest}", in_parentheses(told, ", "))
}

/// Sentences on those that the interval does not tell from the leader at some places, and on those that are not ranked.
fn asides(policies: &[String], places: &[Place]) -> String {
    let any = |is_so: &dyn Fn(&Place, usize) -> bool| -> Vec<usize> {
        (0..policies.len()).filter(|policy| places.iter().any(|place| is_so(place, *policy))).collect()
    };
    let mut text = String::new();
    let open = any(&|place, policy| place.undecided.contains(&policy));
    if !open.is_empty() {
        let names = listed(policies, &open);
        text = format!(
            " Slower on average, but not told apart by the interval, since it depends on the graph: {names}."
        );
    }
    let out = any(&|place, policy| !place.ranks.is_empty() && place.to_leader[policy].is_nan());
    if !out.is_empty() {
        text.push_str(&format!(" Not ranked where runs of theirs failed: {}.", listed(policies, &out)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        ["heft", "eager", "foresight", "dls", "bil", "peft", "mcp"][..count]
            .iter()
            .map(|name| (*name).to_owned())
            .collect()
    }

    /// As if each had run one instance of one graph.
    fn place(value: &str, makespans: &[f64]) -> Place {
        let best = makespans.iter().copied().fold(f64::INFINITY, f64::min);
        let ratios: Vec<f64> = makespans.iter().map(|makespan| makespan / best).collect();
        let mut order: Vec<usize> = (0..ratios.len()).filter(|policy| ratios[*policy].is_finite()).collect();
        order.sort_by(|left, right| ratios[*left].total_cmp(&ratios[*right]));
        let (leaders, others): (Vec<usize>, Vec<usize>) =
            order.into_iter().partition(|policy| ratios[*policy] < TIE);
        let to_leader =
            ratios.iter().map(|ratio| if ratio.is_finite() { *ratio } else { f64::NAN }).collect();
        let ranks: Vec<Vec<usize>> =
            std::iter::once(leaders).chain(others.into_iter().map(|policy| vec![policy])).collect();
        let ranks = if best.is_finite() { ranks } else { Vec::new() };
        Place { value: value.to_owned(), mean_ratios: ratios, to_leader, ranks, undecided: Vec::new() }
    }

    fn told(rows: &[(&str, &[f64])]) -> String {
        let places: Vec<Place> = rows.iter().map(|(value, makespans)| place(value, makespans)).collect();
        along_axis(&names(rows[0].1.len()), &places)
    }

    #[test]
    fn one_leader_leads_throughout() {
        let text =
            told(&[("0", &[1.0, 2.0, 1.011]), ("1 ms", &[1.0, 2.5, 1.09]), ("1.5 s", &[2.0, 4.0, 2.1])]);
        assert_eq!(
            text,
            "heft leads throughout, from 0 to 1.5 s (eager 2.00 to 2.50 times, foresight 1.01 to 1.09 times as long)."
        );
    }

    #[test]
    fn a_change_of_leader_is_told_with_its_value() {
        let text = told(&[
            ("0", &[1.0, 1.3]),
            ("150 ms", &[1.0, 1.2]),
            ("500 ms", &[1.03, 1.0]),
            ("1.5 s", &[1.0, 1.1]),
        ]);
        assert_eq!(
            text,
            "heft leads up to 150 ms (eager 1.20 to 1.30 times as long); eager leads at 500 ms (heft 1.03 times as long); \
             heft again leads at 1.5 s (eager 1.10 times as long)."
        );
    }

    #[test]
    fn what_is_equal_to_the_printed_digit_ties() {
        let text = told(&[("0", &[1.0, 1.004, 2.0]), ("1 ms", &[1.003, 1.0, 2.0])]);
        assert_eq!(text, "heft and eager tie throughout, from 0 to 1 ms (foresight 2.00 times as long).");
        let text = told(&[("0", &[1.0, 1.1]), ("1 ms", &[1.0, 1.001]), ("2 ms", &[1.0, 1.2])]);
        assert_eq!(
            text,
            "heft leads or ties throughout, from 0 to 2 ms (eager ties at 1 ms, else 1.10 to 1.20 times as long)."
        );
        let text = told(&[("0", &[1.0, 1.0, 1.0]), ("1 ms", &[1.0, 1.001, 1.002])]);
        assert_eq!(text, "all 3 policies tie throughout, from 0 to 1 ms.");
        // A tie where the lead goes from one to the other belongs to the one that led before.
        let text =
            told(&[("0", &[1.0, 1.1]), ("1 ms", &[1.0, 1.0]), ("2 ms", &[1.2, 1.0]), ("3 ms", &[1.3, 1.0])]);
        assert_eq!(
            text,
            "heft leads or ties up to 1 ms (eager ties at 1 ms, else 1.10 times as long); eager leads from 2 ms on (heft 1.20 to \
             1.30 times as long)."
        );
    }

    #[test]
    fn of_many_policies_the_next_is_told() {
        let text = told(&[("0", &[1.0, 9.0, 1.2, 1.001, 1.1]), ("1 ms", &[1.0, 9.0, 1.2, 1.3, 1.4])]);
        assert_eq!(
            text,
            "heft leads or ties throughout, from 0 to 1 ms (tied with dls at 0; the next 1.10 to 1.20 times as long)."
        );
        let text = told(&[("0", &[1.0; 7]), ("1 ms", &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 12.34])]);
        assert_eq!(
            text,
            "heft, eager, foresight, dls and 2 more tie throughout, from 0 to 1 ms (tied with mcp at 0; mcp, the next, 12.3 times as long)."
        );
    }

    #[test]
    fn runs_that_failed_rank_nobody() {
        let failed = f64::INFINITY;
        let text = told(&[("0", &[1.0, failed]), ("1 ms", &[failed, failed])]);
        assert_eq!(
            text,
            "heft leads at 0; at 1 ms no policy finished all of its runs. Not ranked where runs of theirs failed: eager."
        );
    }

    #[test]
    fn without_an_axis_it_is_told_who_is_best_on_average() {
        let average = |makespans: &[f64], instances| {
            on_average(&names(makespans.len()), &place("", makespans), instances)
        };
        assert_eq!(
            average(&[1.0, 2.222, 1.05], 36),
            "heft is best on average over 36 instances (foresight 1.05 times, eager 2.22 times as long)."
        );
        assert_eq!(
            average(&[1.0, 1.002, 1.05], 1),
            "heft and eager tie as the best (foresight 1.05 times as long)."
        );
        assert_eq!(average(&[1.0, 1.0], 4), "both policies tie on average over 4 instances.");
        assert_eq!(
            average(&[1.2, 1.3, 1.0, 1.1, 1.5], 4),
            "foresight is best on average over 4 instances (dls, the next, 1.10 times as long)."
        );
        assert_eq!(average(&[f64::INFINITY], 4), "no policy finished all of its runs.");
    }

    #[test]
    fn ranks_are_told_with_their_ties() {
        let at = place("0", &[1.0, 1.001, 1.002, 2.0]);
        let name = |policy: usize| format!("`{}`", names(4)[policy]);
        assert_eq!(at.told(&at.ranks[0], name), "`heft` = `eager` = `foresight` 1.00");
        assert_eq!(at.told(&at.ranks[1], name), "`dls` 2.00");
        assert_eq!(at.told(&[0, 3], name), "`heft` 1.00 = `dls` 2.00");
    }

    const TWO: &str = r#"
name = "two"
policies = ["heft", "eager"]
seeds = [1]
graphs = [{ graph = "chains" }, { graph = "layered" }, { graph = "diamond" }]
clusters = [{ cluster = "uniform" }]
"#;

    /// A row for each graph.
    fn compared(makespans: &[[f64; 2]]) -> (Study, Comparison) {
        let study = Study::recorded(std::path::Path::new("s.toml"), TWO.to_owned(), BTreeMap::new()).unwrap();
        let rows = study
            .instances()
            .zip(makespans)
            .map(|(instance, makespans)| Row { instance, makespans: makespans.to_vec() })
            .collect();
        let (policies, failures) = (names(2), Vec::new());
        let comparison = Comparison { policies, rows, distinct: makespans.len(), incomplete: 0, failures };
        (study, comparison)
    }

    #[test]
    fn what_the_interval_does_not_tell_apart_ties() {
        let sentence = |makespans: &[[f64; 2]]| {
            let (study, comparison) = compared(makespans);
            findings(&study, &comparison).iter().map(Finding::line).collect::<Vec<_>>()
        };
        // On each graph the same one is better.
        assert_eq!(
            sentence(&[[1.0, 1.2], [1.0, 1.3], [1.0, 1.1]]),
            ["heft is best on average over 3 instances (eager 1.20 times as long)."]
        );
        // A little better on average, but on one graph worse.
        assert_eq!(
            sentence(&[[1.0, 1.1], [1.0, 1.1], [1.1, 1.0]]),
            ["both policies tie on average over 3 instances."]
        );
        // Far better on average, but on one graph worse: no tie, and not sure either.
        assert_eq!(
            sentence(&[[1.0, 1.9], [1.0, 1.9], [1.1, 1.0]]),
            [
                "heft is best on average over 3 instances (eager 1.49 times as long). Slower on average, but not told apart by \
              the interval, since it depends on the graph: eager."
            ]
        );
        // One graph alone has no interval: two digits decide.
        assert_eq!(sentence(&[[1.0, 1.02]]), ["heft is best (eager 1.02 times as long)."]);
        assert_eq!(sentence(&[[1.0, 1.002]]), ["both policies tie."]);
    }

    #[test]
    fn whose_runs_failed_does_not_lead() {
        let (study, comparison) = compared(&[[1.0, 0.5], [1.0, f64::INFINITY], [f64::INFINITY; 2]]);
        let found = findings(&study, &comparison);
        assert_eq!(
            found[0].sentence,
            "heft is best on average over 3 instances. Not ranked where runs of theirs failed: eager."
        );
    }
}
