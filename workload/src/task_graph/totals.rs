//! What can be counted on a graph: work, bytes, and the ratio of communication to computation.

use super::TaskGraph;

/// Why sizes cannot be scaled.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ScaleError {
    /// The ratio asked for is not a finite number from 0.
    #[error(
        "a ratio of communication to computation of {target} does not exist; it is a finite number from 0"
    )]
    Target {
        /// The ratio asked for.
        target: f64,
    },
    /// The bandwidth is 0.
    #[error("the bandwidth is 0; the ratio needs one of at least 1 byte per second")]
    Bandwidth,
    /// No task hands data to another, so no factor helps.
    #[error("no task hands a byte to another, so there are no sizes to scale")]
    NoData,
    /// No task takes any time, so every ratio is infinite.
    #[error("no task takes any time, so there is no computation to compare with")]
    NoWork,
    /// A scaled size does not fit 64 bits.
    #[error("sizes would have to grow by {factor:e}, beyond what 64 bits hold")]
    TooLarge {
        /// The factor.
        factor: f64,
    },
}

impl TaskGraph {
    /// The sum of the tasks' work, each as [`crate::task_graph::TaskCost::mean_ns`], in nanoseconds.
    #[must_use]
    pub fn total_work_ns(&self) -> u128 {
        self.tasks.iter().map(|task| u128::from(task.cost.mean_ns())).sum()
    }

    /// The sum of the sizes of all items, each counted once, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u128 {
        self.items.iter().map(|item| u128::from(item.size_bytes)).sum()
    }

    /// The number of pairs of tasks of which one reads data that the other makes, and the bytes that go between
    /// them, counted for each pair.
    #[must_use]
    pub fn communication(&self) -> (u64, u128) {
        let (mut pairs, mut bytes) = (0, 0);
        let mut producers = Vec::new();
        for task in &self.tasks {
            producers.clear();
            for &item in &task.inputs {
                if let Some(producer) = self.items[item].producer {
                    producers.push(producer);
                    bytes += u128::from(self.items[item].size_bytes);
                }
            }
            producers.sort_unstable();
            producers.dedup();
            pairs += producers.len() as u64;
        }
        (pairs, bytes)
    }

    /// The ratio of communication to computation: the mean time that the data between two tasks takes at this
    /// bandwidth, over the mean duration of a task (Topcuoglu et al. 2002, section 5.1). Latency and inputs of the
    /// graph do not count. `None` when no task takes any time or the bandwidth is 0; 0 when no data goes anywhere.
    #[must_use]
    pub fn ccr(&self, bandwidth_bytes_per_s: u64) -> Option<f64> {
        let work_ns = self.total_work_ns();
        if work_ns == 0 || bandwidth_bytes_per_s == 0 {
            return None;
        }
        let (pairs, bytes) = self.communication();
        if pairs == 0 {
            return Some(0.0);
        }
        let mean_communication_ns = bytes as f64 * 1e9 / bandwidth_bytes_per_s as f64 / pairs as f64;
        Some(mean_communication_ns / (work_ns as f64 / self.tasks.len() as f64))
    }

    /// Multiplies the sizes of all items, inputs of the graph too, by one factor such that the ratio of
    /// communication to computation becomes `target`; sizes are rounded to whole bytes. Returns the ratio reached,
    /// which differs from `target` by that rounding.
    ///
    /// # Errors
    /// When no factor reaches the target, or sizes would not fit; the graph is unchanged then.
    pub fn scale_ccr(&mut self, target: f64, bandwidth_bytes_per_s: u64) -> Result<f64, ScaleError> {
        if !target.is_finite() || target < 0.0 {
            return Err(ScaleError::Target { target });
        }
        if bandwidth_bytes_per_s == 0 {
            return Err(ScaleError::Bandwidth);
        }
        let now = self.ccr(bandwidth_bytes_per_s).ok_or(ScaleError::NoWork)?;
        if now == 0.0 {
            return if target == 0.0 { Ok(0.0) } else { Err(ScaleError::NoData) };
        }
        let factor = target / now;
        let largest = self.items.iter().map(|item| item.size_bytes).max().unwrap_or(0);
        if largest as f64 * factor >= u64::MAX as f64 {
            return Err(ScaleError::TooLarge { factor });
        }
        for item in &mut self.items {
            item.size_bytes = (item.size_bytes as f64 * factor).round() as u64;
        }
        Ok(self.ccr(bandwidth_bytes_per_s).expect("there was work before, and there still is"))
    }
}
