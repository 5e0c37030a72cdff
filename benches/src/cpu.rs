//! The processor time of this process and of its children, as Linux counts it.
//!
//! Must never start or end a process.

use std::time::Duration;

/// Linux counts in hundredths of a second, whatever the kernel's own ticks are.
const TICK: Duration = Duration::from_millis(10);

/// The time that this process and its living children have taken up to now; `None` where that is not told.
#[must_use]
pub fn taken() -> Option<Duration> {
    let own = std::process::id();
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end meanwhile.
        let Ok(line) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some((parent, taken)) = parse(&line)
            && (id == own || parent == own)
        {
            ticks += taken;
        }
    }
    Some(TICK * u32::try_from(ticks).ok()?)
}

/// The parent and the ticks of one process.
fn parse(line: &str) -> Option<(u32, u64)> {
    // The name stands in parentheses and may hold anything, parentheses too.
    let rest = line.rsplit_once(')')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some((parent, user + system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_any_name_is_read() {
        let line = "12 (a ) b) S 7 1 1 0 -1 4194304 100 0 0 0 250 50 9 9 20 0 1 0 5 6 7";
        assert_eq!(parse(line), Some((7, 300)));
        assert_eq!(parse("12 (a"), None);
    }
}
