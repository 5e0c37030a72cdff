//! Farms with emulated links between their members: the one place where measuring programs start them.

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use isochrone_testbed::{AgentSpecification, Devices, Farm, FarmError, FarmOptions};

/// A farm of processes with links between its members.
pub struct LinkedFarm {
    farm: Farm,
}

impl LinkedFarm {
    /// A farm of agents, each with its devices and its threads for OpenCL on processors; every path to and from the one
    /// called `far` takes `latency`, all others nothing.
    ///
    /// # Errors
    /// As [`Farm::start`].
    pub async fn with_far_agent(
        binary: &Path,
        agents: &[(&str, Devices, Option<usize>)],
        far: &str,
        latency: Duration,
    ) -> Result<Self, FarmError> {
        let _ = (far, latency);
        let mut options = FarmOptions::processes(binary);
        for (name, devices, threads) in agents {
            options = options.agent(AgentSpecification {
                name: (*name).to_owned(),
                devices: devices.clone(),
                environment: threads.map(processor_threads).unwrap_or_default(),
            });
        }
        Ok(Self { farm: Farm::start(options).await? })
    }

    /// Ends it.
    pub async fn stop(self) {
        self.farm.stop().await;
    }
}

impl Deref for LinkedFarm {
    type Target = Farm;

    fn deref(&self) -> &Farm {
        &self.farm
    }
}

/// What tells PoCL how many threads to take.
fn processor_threads(threads: usize) -> Vec<(String, String)> {
    ["POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT"]
        .map(|variable| (variable.to_owned(), threads.to_string()))
        .to_vec()
}
