//! `isochrone link`: an emulated link between two addresses, until Ctrl-C.
//!
//! Must never hold what a link does: `link` and `emulator` do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use isochrone_emulator::{Emulator, EmulatorOptions, LinkPlan, Waiting, parse_schedule};
use isochrone_link::{
    Chance, Counters, Distribution, LinkDescription, parse_bytes, parse_chance, parse_rate, parse_span,
};
use isochrone_model::{BytesPerSecond, Span};
use isochrone_testbed::{READY_LISTENING, ReadyLine};
use serde::Serialize;

use crate::{daemons, output};

const EXAMPLES: &str = "\
Examples:
  isochrone link --to 127.0.0.1:7447 --delay 10ms
      listens on 127.0.0.1:7500 and delays what goes to port 7447, and what comes back, by 10 ms
  isochrone link --to 127.0.0.1:7447 --delay 20ms --jitter 2ms --correlation 50% --rate 200Mbit --queue 1MB
  isochrone link --to 127.0.0.1:7447 --delay 30ms --loss 1% --loss-burst 5 --seed 7
  isochrone link --to 127.0.0.1:7447 --delay 25ms --there rate=12Mbit --back rate=100Mbit,loss=0.4%
      up and down as by satellite
  isochrone link --to 127.0.0.1:7447 --delay 10ms --schedule changes.toml --json

A schedule has a [[change]] table for each change, in order: after = \"10s\", and delay, jitter, distribution,
correlation, may_overtake (true or false), loss, loss_burst (a number), rate, queue, reorder, reorder_by, duplicate, mtu
as far as they change; direction = \"there\" or \"back\" for one direction alone.
Any number of senders may use the link at once; they share its rate. It passes UDP only, and looks into nothing.";

/// `isochrone link`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LinkArguments {
    /// Where to listen; port 0 for any free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7500")]
    listen: SocketAddr,

    /// Where datagrams go
    #[arg(long, value_name = "IP:PORT")]
    to: SocketAddr,

    /// One-way latency [default: 0]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    delay: Option<Span>,

    /// How much the latency varies [default: 0]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    jitter: Option<Span>,

    /// How it varies: normal (mean and deviation), uniform (delay -+ jitter), pareto (delay at least, jitter more on
    /// average) [default: normal]
    #[arg(long, value_name = "NAME")]
    distribution: Option<Distribution>,

    /// The coefficient of each latency with that of the datagram before [default: 0]
    #[arg(long, value_name = "PART", value_parser = parse_chance)]
    correlation: Option<Chance>,

    /// Let datagrams with a lower latency overtake others [default: they keep their order]
    #[arg(long)]
    may_overtake: bool,

    /// The part of datagrams that are lost, as in 1% or 0.01 [default: 0]
    #[arg(long, value_name = "PART", value_parser = parse_chance)]
    loss: Option<Chance>,

    /// Lose so many in a row on average [default: each by itself]
    #[arg(long, value_name = "COUNT", requires = "loss")]
    loss_burst: Option<f64>,

    /// The rate, 28 bytes of headers for each datagram included [default: unlimited]
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<BytesPerSecond>,

    /// How much may wait for the rate; more is lost [default: what passes in twice the delay, at least 64KiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    queue: Option<u64>,

    /// The part of datagrams that are held back so that others overtake them [default: 0]
    #[arg(long, value_name = "PART", value_parser = parse_chance)]
    reorder: Option<Chance>,

    /// For how long they are held back [default: 1ms]
    #[arg(long, value_name = "TIME", value_parser = parse_span, requires = "reorder")]
    reorder_by: Option<Span>,

    /// The part of datagrams that arrive twice [default: 0]
    #[arg(long, value_name = "PART", value_parser = parse_chance)]
    duplicate: Option<Chance>,

    /// Lose datagrams with more bytes of payload than this [default: no limit]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    mtu: Option<u64>,

    /// What is other on the way to --to: NAME=VALUE,... with the names of the flags above
    #[arg(long, value_name = "SETTINGS", value_parser = parse_settings)]
    there: Option<LinkDescription>,

    /// What is other on the way back
    #[arg(long, value_name = "SETTINGS", value_parser = parse_settings)]
    back: Option<LinkDescription>,

    /// Change settings at the times that this file states
    #[arg(long, value_name = "FILE")]
    schedule: Option<PathBuf>,

    /// Decides everything that is random
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Never sleep: less added delay, for a whole core
    #[arg(long)]
    spin: bool,

    /// Print JSON: a line when it listens, and the statistics at the end
    #[arg(long)]
    json: bool,

    /// End when standard input does.
    #[arg(long, hide = true)]
    stop_with_input: bool,
}

/// What has happened in one direction.
#[derive(Debug, Serialize)]
struct DirectionReport {
    direction: &'static str,
    offered: u64,
    offered_bytes: u64,
    delivered: u64,
    delivered_bytes: u64,
    lost: u64,
    dropped_by_queue: u64,
    too_large: u64,
    refused: u64,
    duplicated: u64,
    held_back: u64,
}

/// Relays until told to stop, then prints what happened.
pub async fn link(arguments: LinkArguments) -> anyhow::Result<()> {
    let stop = daemons::told_to_stop(arguments.stop_with_input);
    let (listen, to, json) = (arguments.listen, arguments.to, arguments.json);
    if listen.is_ipv4() != to.is_ipv4() {
        bail!("--listen and --to are not of one address family");
    }
    let mut options = EmulatorOptions::new(plan(&arguments)?, 0);
    if arguments.spin {
        options = options.waiting(Waiting::SpinAlways);
    }
    let emulator = Emulator::start(options)?;
    let address = emulator.front(listen, 1, to)?;
    if json {
        let ready = ReadyLine { event: READY_LISTENING.to_owned(), address };
        output::line(serde_json::to_string(&ready)?);
    } else {
        output::line(format!("linking {address} to {to}; Ctrl-C stops"));
    }
    stop.await;
    let reports: Vec<DirectionReport> = emulator
        .counters()?
        .iter()
        .map(|pair| report(if pair.from == 0 { "there" } else { "back" }, &pair.counters))
        .collect();
    if json {
        output::json(&reports)
    } else {
        output::print(&table(&reports));
        Ok(())
    }
}

fn plan(arguments: &LinkArguments) -> anyhow::Result<LinkPlan> {
    let both = LinkDescription {
        delay: arguments.delay,
        jitter: arguments.jitter,
        distribution: arguments.distribution,
        correlation: arguments.correlation.map(Chance::probability),
        may_overtake: arguments.may_overtake.then_some(true),
        loss: arguments.loss,
        loss_burst: arguments.loss_burst,
        rate: arguments.rate,
        queue_bytes: arguments.queue,
        reorder: arguments.reorder,
        reorder_by: arguments.reorder_by,
        duplicate: arguments.duplicate,
        datagram_bytes_max: arguments.mtu,
    };
    let direction = |own: &Option<LinkDescription>| own.clone().unwrap_or_default().or(&both);
    let changes = arguments.schedule.as_deref().map(schedule).transpose()?.unwrap_or_default();
    let (there, back) = (direction(&arguments.there), direction(&arguments.back));
    LinkPlan::described(arguments.seed, &there, &back, &changes).context("the settings make no link")
}

fn schedule(path: &Path) -> anyhow::Result<Vec<isochrone_emulator::ScheduledChange>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the schedule {}", path.display()))?;
    parse_schedule(&text).with_context(|| format!("the schedule {} is wrong", path.display()))
}

/// Settings of one direction: `delay=10ms,rate=12Mbit`.
fn parse_settings(text: &str) -> Result<LinkDescription, String> {
    let mut settings = LinkDescription::default();
    for pair in text.split(',') {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| format!("`{pair}` is not of the form NAME=VALUE"))?;
        let (name, value) = (name.trim(), value.trim());
        let words = |error: &dyn std::fmt::Display| format!("{name}: {error}");
        let span = || parse_span(value).map(Some).map_err(|error| words(&error));
        let chance = || parse_chance(value).map(Some).map_err(|error| words(&error));
        let bytes = || parse_bytes(value).map(Some).map_err(|error| words(&error));
        match name {
            "delay" => settings.delay = span()?,
            "jitter" => settings.jitter = span()?,
            "distribution" => {
                settings.distribution = Some(value.parse().map_err(|error| words(&error))?);
            }
            "correlation" => settings.correlation = chance()?.map(Chance::probability),
            "may-overtake" => settings.may_overtake = Some(value.parse().map_err(|error| words(&error))?),
            "loss" => settings.loss = chance()?,
            "loss-burst" => settings.loss_burst = Some(value.parse().map_err(|error| words(&error))?),
            "rate" => settings.rate = Some(parse_rate(value).map_err(|error| words(&error))?),
            "queue" => settings.queue_bytes = bytes()?,
            "reorder" => settings.reorder = chance()?,
            "reorder-by" => settings.reorder_by = span()?,
            "duplicate" => settings.duplicate = chance()?,
            "mtu" => settings.datagram_bytes_max = bytes()?,
            _ => return Err(format!("there is no setting `{name}`")),
        }
    }
    Ok(settings)
}

fn report(direction: &'static str, counters: &Counters) -> DirectionReport {
    DirectionReport {
        direction,
        offered: counters.offered,
        offered_bytes: counters.offered_bytes,
        delivered: counters.delivered,
        delivered_bytes: counters.delivered_bytes,
        lost: counters.lost,
        dropped_by_queue: counters.dropped,
        too_large: counters.too_large,
        refused: counters.refused,
        duplicated: counters.duplicated,
        held_back: counters.held_back,
    }
}

fn table(reports: &[DirectionReport]) -> String {
    let headings = [
        "direction",
        "offered",
        "bytes",
        "delivered",
        "lost",
        "dropped",
        "too large",
        "refused",
        "twice",
        "held back",
    ];
    let rows: Vec<Vec<String>> = reports
        .iter()
        .map(|report| {
            let numbers = [
                report.offered,
                report.offered_bytes,
                report.delivered,
                report.lost,
                report.dropped_by_queue,
                report.too_large,
                report.refused,
                report.duplicated,
                report.held_back,
            ];
            let numbers = numbers.iter().map(ToString::to_string);
            std::iter::once(report.direction.to_owned()).chain(numbers).collect()
        })
        .collect();
    output::table(&headings, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_direction_can_be_other_than_both() {
        let settings = parse_settings("delay=5ms, rate=12Mbit,loss=0.4%,loss-burst=2").unwrap();
        assert_eq!(settings.delay, Some(Span::from_millis(5)));
        assert_eq!(settings.rate, Some(BytesPerSecond(1_500_000)));
        assert_eq!((settings.loss, settings.loss_burst), (Some(Chance::new(0.004)), Some(2.0)));
        assert_eq!(parse_settings("delay"), Err("`delay` is not of the form NAME=VALUE".to_owned()));
        assert_eq!(parse_settings("speed=1"), Err("there is no setting `speed`".to_owned()));
        assert!(parse_settings("loss=often").unwrap_err().starts_with("loss: `often`"));
    }
}
