//! Where, when and how something was measured: what is needed to judge a figure and to repeat it.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::table::{Alignment, Table};

/// The machine that something was measured on. What it does not tell is empty or zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineFacts {
    /// Processors that this process may use.
    pub cores: usize,
    /// The processor's model.
    pub processor: String,
    /// The kernel's name and release.
    pub kernel: String,
    /// The distribution.
    pub system: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Mean number of runnable threads over the last 1, 5 and 15 minutes.
    pub load: [f64; 3],
}

impl MachineFacts {
    /// What this machine tells of itself now.
    #[must_use]
    pub fn of_this_machine() -> Self {
        // A file that is not there tells nothing: other systems have none of them.
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let kernel = [read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease")];
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: value_of(&read("/proc/cpuinfo"), "model name", ':').unwrap_or_default(),
            kernel: kernel.map(|text| text.trim().to_owned()).join(" ").trim().to_owned(),
            system: value_of(&read("/etc/os-release"), "PRETTY_NAME", '=').unwrap_or_default(),
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
            load: load(&read("/proc/loadavg")),
        }
    }
}

/// How a run was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// When it began, in seconds since 1970; the caller reads the clock.
    pub started_unix_seconds: u64,
    /// The version of Isochrone.
    pub version: String,
    /// The command that repeats it.
    pub command_line: Vec<String>,
    /// The machine, as it was at the start.
    pub machine: MachineFacts,
    /// What else matters, as (name, value) in order: devices, options, versions of drivers.
    pub notes: Vec<(String, String)>,
}

impl RunManifest {
    /// The manifest of a run that begins now on this machine.
    #[must_use]
    pub fn new(started_unix_seconds: u64, version: &str, command_line: Vec<String>) -> Self {
        Self {
            started_unix_seconds,
            version: version.to_owned(),
            command_line,
            machine: MachineFacts::of_this_machine(),
            notes: Vec::new(),
        }
    }

    /// Adds something that matters.
    pub fn note(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.notes.push((name.into(), value.into()));
    }

    /// All of it as a table.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::new(&[("what", Alignment::Left), ("value", Alignment::Left)]);
        let machine = &self.machine;
        let [one, five, fifteen] = machine.load;
        table.row(["date (UTC)", &date(self.started_unix_seconds)]);
        table.row(["Isochrone", &self.version]);
        table.row(["processor", &format!("{}, {} cores", machine.processor, machine.cores)]);
        table.row(["memory", &format!("{:.1} GiB", machine.memory_bytes as f64 / f64::from(1 << 30))]);
        table.row(["system", &format!("{}, {}", machine.system, machine.kernel)]);
        table.row(["load before", &format!("{one:.2} {five:.2} {fifteen:.2} (1, 5, 15 minutes)")]);
        for (name, value) in &self.notes {
            table.row([name, value]);
        }
        table
    }
}

/// The value on the first line `name SEPARATOR value`, without quotes.
fn value_of(text: &str, name: &str, separator: char) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(separator)?;
        (key.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn memory_bytes(meminfo: &str) -> u64 {
    let value = value_of(meminfo, "MemTotal", ':').unwrap_or_default();
    let kibibytes: u64 = value.trim_end_matches("kB").trim().parse().unwrap_or(0);
    kibibytes.saturating_mul(1_024)
}

fn load(loadavg: &str) -> [f64; 3] {
    let mut words = loadavg.split_whitespace().map(|word| word.parse().unwrap_or(0.0));
    std::array::from_fn(|_| words.next().unwrap_or(0.0))
}

/// Year, month, day, hour and minute of a number of seconds since 1970 in UTC.
fn date(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Years from March on, in eras of 400 years: the leap day comes last in each.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", seconds / 3_600, seconds % 3_600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_leap_days() {
        assert_eq!(date(0), "1970-01-01 00:00");
        assert_eq!(date(951_782_399), "2000-02-28 23:59");
        assert_eq!(date(951_782_400), "2000-02-29 00:00");
        assert_eq!(date(951_868_800), "2000-03-01 00:00");
        assert_eq!(date(1_798_761_599), "2026-12-31 23:59");
    }

    #[test]
    fn what_the_system_tells_is_parsed_and_what_it_does_not_is_empty() {
        assert_eq!(memory_bytes("MemTotal:        2048 kB\nMemFree: 1 kB\n"), 2 << 20);
        assert_eq!(memory_bytes("nonsense"), 0);
        assert_eq!(load("0.52 1.04 2.00 1/123 4567\n"), [0.52, 1.04, 2.0]);
        assert_eq!(load(""), [0.0; 3]);
        let release = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n";
        assert_eq!(value_of(release, "PRETTY_NAME", '=').as_deref(), Some("Debian GNU/Linux 12"));
        assert_eq!(value_of(release, "VERSION", '='), None);
    }

    #[test]
    fn a_manifest_survives_json_and_shows_its_notes() {
        let mut manifest = RunManifest::new(951_782_400, "0.1.0", vec!["bench".to_owned()]);
        manifest.note("device", "cpu");
        assert!(manifest.machine.cores > 0);
        let json = serde_json::to_string(&manifest).unwrap();
        let back: RunManifest = serde_json::from_str(&json).unwrap();
        assert_eq!((&back.notes, &back.command_line), (&manifest.notes, &manifest.command_line));
        let table = manifest.table().to_string();
        assert!(table.contains("2000-02-29 00:00") && table.contains("| device"), "{table}");
    }
}
