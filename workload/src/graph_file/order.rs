//! The order that `after` asks for: labels become indices, and cycles are found. Must never hold hazards of data.

use std::collections::HashMap;

use super::Command;
use super::errors::{Place, Problem, Reports};
use isochrone_model::suggestion::nearest;

/// A label that a command has to wait for.
pub(super) struct PendingDependency {
    pub command: usize,
    pub label: String,
    pub place: Place,
}

/// Fills in `after` of each command; what leads nowhere is reported.
pub(super) fn resolve(commands: &mut [Command], pending: Vec<PendingDependency>, reports: &mut Reports) {
    let by_label: HashMap<String, usize> =
        commands.iter().enumerate().map(|(index, command)| (command.label.clone(), index)).collect();
    for dependency in pending {
        match by_label.get(&dependency.label) {
            Some(&index) => commands[dependency.command].after.push(index),
            None => {
                // Comparing with a million labels for each of a million slips would take hours; one is enough.
                let labels = commands.iter().take(10_000).map(|command| command.label.as_str());
                let suggestion = nearest(&dependency.label, labels);
                let problem =
                    Problem::Unknown { what: "command labelled", name: dependency.label, suggestion };
                let bindings = format!("label = {}", commands[dependency.command].label);
                reports.report_with(&dependency.place, bindings, problem);
            }
        }
    }
    for command in commands.iter_mut() {
        command.after.sort_unstable();
        command.after.dedup();
    }
}

/// The members of one cycle among `after`, each waiting for the next, or nothing.
pub(super) fn find_cycle(commands: &[Command]) -> Option<Vec<usize>> {
    let mut waiting: Vec<usize> = commands.iter().map(|command| command.after.len()).collect();
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); commands.len()];
    for (index, command) in commands.iter().enumerate() {
        for &before in &command.after {
            followers[before].push(index);
        }
    }
    let mut ready: Vec<usize> = (0..commands.len()).filter(|&index| waiting[index] == 0).collect();
    while let Some(index) = ready.pop() {
        for &follower in &followers[index] {
            waiting[follower] -= 1;
            if waiting[follower] == 0 {
                ready.push(follower);
            }
        }
    }
    // Whatever still waits, waits for something that still waits: following that must come back to a place seen.
    let mut current = (0..commands.len()).find(|&index| waiting[index] > 0)?;
    let mut position = vec![usize::MAX; commands.len()];
    let mut path = Vec::new();
    while position[current] == usize::MAX {
        position[current] = path.len();
        path.push(current);
        current = commands[current].after.iter().copied().find(|&before| waiting[before] > 0)?;
    }
    Some(path.split_off(position[current]))
}
