//! What ran where and when, and what moved: one lane for each slot, thin ones below for what arrived at the agent.

use std::collections::BTreeMap;

use isochrone_model::Timestamp;
use isochrone_workload::task_graph::TaskGraph;

use super::chart::shortened;
use super::numbers::{bytes, span, unit_of};
use super::svg::{Anchor, Svg};
use super::{INK, Scale, colour};
use crate::cluster::{Cluster, Party};
use crate::simulation::{Outcome, TransferRun};

const LEFT: f64 = 190.0;
const RIGHT: f64 = 1180.0;
const TOP: f64 = 62.0;
/// Lanes for what arrives at an agent; more at once share the last.
const ARRIVAL_LANES_MAX: usize = 4;
const ARRIVAL_LANE: f64 = 5.0;
/// Kinds in the legend.
const KINDS_MAX: usize = 24;
const KIND_COLUMNS: usize = 6;
const TRANSFER: &str = "#8c8c8c";
/// Work that came to nothing, since another attempt of the task ended first.
const OUTRUN: &str = "#cccccc";

/// The chart of a run.
#[must_use]
pub fn gantt(title: &str, graph: &TaskGraph, cluster: &Cluster, outcome: &Outcome) -> String {
    Drawing::new(graph, cluster, outcome).svg(title)
}

struct Drawing<'a> {
    graph: &'a TaskGraph,
    outcome: &'a Outcome,
    lanes: Lanes,
    scale: Scale,
    end: f64,
    kinds: BTreeMap<&'a str, usize>,
    kind_names: Vec<&'a str>,
}

struct Lanes {
    /// (name, top, height), by device, then by slot.
    slots: Vec<Vec<(String, f64)>>,
    slot_height: f64,
    /// By agent, the top of its lanes for what arrives.
    arrivals: Vec<f64>,
    /// By transfer, its lane at the receiver; `None` for what goes to no agent.
    lane_of_transfer: Vec<Option<(usize, usize)>>,
    bottom: f64,
}

impl Lanes {
    fn new(cluster: &Cluster, transfers: &[TransferRun]) -> Self {
        let slot_count: usize = cluster.devices().map(|(_, _, device)| usize::from(device.slots)).sum();
        let slot_height = match slot_count {
            ..=16 => 24.0,
            17..=40 => 16.0,
            _ => 11.0,
        };
        let (lane_of_transfer, used) = arrival_lanes(cluster.agents.len(), transfers);
        let (mut slots, mut arrivals, mut y) = (Vec::new(), Vec::new(), TOP);
        for (place, agent) in cluster.agents.iter().enumerate() {
            for device in &agent.devices {
                let of_slot = |slot: u16| match device.slots {
                    1 => format!("{}/{}", agent.name, device.name),
                    _ => format!("{}/{}/{slot}", agent.name, device.name),
                };
                slots.push(
                    (0..device.slots)
                        .map(|slot| (of_slot(slot), y + slot_height * f64::from(slot)))
                        .collect(),
                );
                y += slot_height * f64::from(device.slots);
            }
            arrivals.push(y + 1.0);
            y += 5.0 + ARRIVAL_LANE * used[place] as f64;
        }
        Self { slots, slot_height, arrivals, lane_of_transfer, bottom: y }
    }
}

/// A lane for each transfer, so that what is under way at once is beside each other; and how many each agent needs.
fn arrival_lanes(agents: usize, transfers: &[TransferRun]) -> (Vec<Option<(usize, usize)>>, Vec<usize>) {
    let mut free: Vec<Vec<Timestamp>> = vec![Vec::new(); agents];
    let mut lanes = vec![None; transfers.len()];
    for (transfer, lane) in transfers.iter().zip(&mut lanes) {
        let Party::Agent(agent) = transfer.to() else { continue };
        let ends = &mut free[agent];
        let place = ends.iter().position(|end| *end <= transfer.start).unwrap_or_else(|| {
            if ends.len() < ARRIVAL_LANES_MAX {
                ends.push(Timestamp::ZERO);
            }
            ends.len() - 1
        });
        ends[place] = ends[place].max(transfer.finish);
        *lane = Some((agent, place));
    }
    (lanes, free.iter().map(Vec::len).collect())
}

impl<'a> Drawing<'a> {
    fn new(graph: &'a TaskGraph, cluster: &Cluster, outcome: &'a Outcome) -> Self {
        let last_arrival = outcome.transfers.iter().map(|transfer| transfer.finish).max().unwrap_or_default();
        let end = (outcome.makespan.0.max(last_arrival.since(Timestamp::ZERO).0)).max(1) as f64;
        let (unit, _) = unit_of(end);
        let (mut kinds, mut kind_names) = (BTreeMap::new(), Vec::new());
        for task in &graph.tasks {
            kinds.entry(task.kind.as_str()).or_insert_with(|| {
                kind_names.push(task.kind.as_str());
                kind_names.len() - 1
            });
        }
        let lanes = Lanes::new(cluster, &outcome.transfers);
        Self { graph, outcome, lanes, scale: Scale::linear(0.0, end / unit), end, kinds, kind_names }
    }

    fn x(&self, at: Timestamp) -> f64 {
        LEFT + (RIGHT - LEFT) * (at.since(Timestamp::ZERO).0 as f64 / self.end).clamp(0.0, 1.0)
    }

    fn svg(&self, title: &str) -> String {
        let rows = self.kind_names.len().min(KINDS_MAX + 1).div_ceil(KIND_COLUMNS);
        let height = self.lanes.bottom + 74.0 + 20.0 * rows as f64;
        let makespan = span(self.outcome.makespan);
        let subtitle = format!(
            "{} tasks, makespan {makespan}, {} moved in {} transfers (grey, below the agent that receives)",
            self.graph.tasks.len(),
            bytes(self.outcome.moved_bytes),
            self.outcome.transfers.len()
        );
        let mut svg = Svg::new(RIGHT + 24.0, height, title, &subtitle);
        svg.bold_text((20.0, 26.0), Anchor::Start, 17.0, title);
        svg.text((20.0, 46.0), Anchor::Start, 12.5, &subtitle);
        self.draw_grid(&mut svg);
        self.draw_transfers(&mut svg);
        self.draw_tasks(&mut svg);
        let x = self.x(Timestamp::ZERO + self.outcome.makespan);
        svg.line((x, TOP - 4.0), (x, self.lanes.bottom), INK, 1.2);
        self.draw_legend(&mut svg);
        svg.finish()
    }

    fn draw_grid(&self, svg: &mut Svg) {
        let (_, unit_name) = unit_of(self.end);
        let bottom = self.lanes.bottom;
        for (index, (name, y)) in self.lanes.slots.iter().flatten().enumerate() {
            let shade = if index % 2 == 0 { "#f6f6f6" } else { "#efefef" };
            svg.rectangle((LEFT, *y), (RIGHT - LEFT, self.lanes.slot_height), shade, "");
            let size = (self.lanes.slot_height - 1.0).min(12.5);
            let baseline = y + self.lanes.slot_height / 2.0 + size * 0.35;
            svg.text((LEFT - 8.0, baseline), Anchor::End, size, &shortened(name, 28));
        }
        for (value, text) in self.scale.ticks() {
            let x = LEFT + (RIGHT - LEFT) * self.scale.part(value);
            svg.line((x, TOP), (x, bottom), "#dddddd", 0.8);
            svg.line((x, bottom), (x, bottom + 5.0), INK, 1.0);
            svg.text((x, bottom + 19.0), Anchor::Middle, 12.5, &text);
        }
        svg.line((LEFT, bottom), (RIGHT, bottom), INK, 1.2);
        let label = format!("time since the graph was submitted ({unit_name})");
        svg.text(((LEFT + RIGHT) / 2.0, bottom + 40.0), Anchor::Middle, 14.0, &label);
    }

    fn draw_transfers(&self, svg: &mut Svg) {
        for (transfer, lane) in self.outcome.transfers.iter().zip(&self.lanes.lane_of_transfer) {
            let Some((agent, lane)) = lane else { continue };
            let (from, to) = (self.x(transfer.start), self.x(transfer.finish));
            let y = self.lanes.arrivals[*agent] + ARRIVAL_LANE * *lane as f64;
            let item = transfer.item().and_then(|item| self.graph.items.get(item));
            let tooltip = format!(
                "{}: {}, {} to {}",
                item.map_or("memory", |item| item.name.as_str()),
                bytes(transfer.size_bytes),
                span(transfer.start.since(Timestamp::ZERO)),
                span(transfer.finish.since(Timestamp::ZERO))
            );
            svg.rectangle((from, y), ((to - from).max(0.6), ARRIVAL_LANE - 1.2), TRANSFER, &tooltip);
        }
    }

    fn draw_tasks(&self, svg: &mut Svg) {
        let runs = self.graph.tasks.iter().zip(&self.outcome.tasks).map(|(task, run)| (task, run, false));
        let outrun = self.outcome.outrun.iter().map(|of| (&self.graph.tasks[of.task], &of.run, true));
        for (task, run, is_outrun) in runs.chain(outrun) {
            let Some((_, y)) = self.lanes.slots.get(run.device).and_then(|slots| slots.get(run.slot)) else {
                continue;
            };
            let (from, to) = (self.x(run.start), self.x(run.finish));
            let duration = run.finish.since(run.start);
            let started = span(run.start.since(Timestamp::ZERO));
            let kind = if is_outrun { "outrun by its other attempt" } else { &task.kind };
            let tooltip = format!("{} ({kind}): {} from {started}", task.name, span(duration));
            // A hair of white keeps neighbours apart where there is room for it.
            let width = if to - from > 3.0 { to - from - 0.8 } else { (to - from).max(0.6) };
            let height = self.lanes.slot_height - 2.0;
            let fill = if is_outrun { OUTRUN.to_owned() } else { colour(self.kinds[task.kind.as_str()]) };
            svg.rectangle((from, y + 1.0), (width, height), &fill, &tooltip);
            let letters = task.name.chars().count() as f64;
            let size = (height - 3.0).min(12.0);
            if size >= 8.0 && letters * size * 0.68 + 6.0 < width {
                let ink = if is_dark(&fill) { "#ffffff" } else { INK };
                let at = (from + width / 2.0, y + 1.0 + height / 2.0 + size * 0.35);
                svg.coloured_text(at, Anchor::Middle, size, ink, &task.name);
            }
        }
    }

    fn draw_legend(&self, svg: &mut Svg) {
        let top = self.lanes.bottom + 58.0;
        let column = (RIGHT - 20.0) / KIND_COLUMNS as f64;
        for (index, name) in self.kind_names.iter().enumerate().take(KINDS_MAX + 1) {
            let x = 20.0 + column * (index % KIND_COLUMNS) as f64;
            let y = top + 20.0 * (index / KIND_COLUMNS) as f64;
            if index == KINDS_MAX {
                let more = format!("and {} more kinds", self.kind_names.len() - KINDS_MAX);
                svg.text((x, y + 11.0), Anchor::Start, 12.5, &more);
            } else {
                svg.rectangle((x, y), (13.0, 13.0), &colour(index), "");
                svg.text((x + 19.0, y + 11.0), Anchor::Start, 12.5, &shortened(name, 24));
            }
        }
    }
}

/// Whether white text reads better on it.
fn is_dark(colour: &str) -> bool {
    let part = |at: usize| u32::from_str_radix(&colour[at..at + 2], 16).unwrap_or(0);
    299 * part(1) + 587 * part(3) + 114 * part(5) < 140_000
}
