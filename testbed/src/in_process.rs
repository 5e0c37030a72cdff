//! Members of a farm as tasks of this process.
//!
//! Must never outlive the farm by more than it takes to tell the peers.

use std::net::SocketAddr;

use isochrone_node_agent::{AgentError, AgentOptions, BoundAgent};
use isochrone_scheduler::{BoundScheduler, SchedulerOptions};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::error::{FarmError, Member};

/// One task. Dropping it tells the task to end.
#[derive(Debug)]
pub(crate) struct MemberTask {
    member: Member,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), AgentError>>,
}

impl MemberTask {
    /// Starts a scheduler and tells where it listens.
    pub(crate) fn scheduler(options: SchedulerOptions) -> Result<(Self, SocketAddr), FarmError> {
        let scheduler = BoundScheduler::bind(options)?;
        let address = scheduler.local_address();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            scheduler.run(until(stopped)).await;
            Ok(())
        });
        Ok((Self { member: Member::Scheduler, stop: Some(stop), task }, address))
    }

    /// Starts an agent.
    pub(crate) fn agent(name: &str, options: AgentOptions) -> Result<Self, FarmError> {
        let failed = |source| FarmError::Agent { name: name.to_owned(), source };
        let agent = BoundAgent::bind(options).map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move { agent.run(until(stopped)).await });
        Ok(Self { member: Member::Agent(name.to_owned()), stop: Some(stop), task })
    }

    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Why it ended; call it once, after [`Self::has_ended`].
    pub(crate) async fn ended_error(&mut self) -> FarmError {
        let status = match (&mut self.task).await {
            Ok(Ok(())) => "it was told to stop".to_owned(),
            Ok(Err(source)) => return FarmError::Agent { name: self.member.to_string(), source },
            Err(error) => error.to_string(),
        };
        FarmError::Ended { member: self.member.clone(), status, log: String::new() }
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) async fn kill(&mut self) {
        self.task.abort();
        self.wait().await;
    }

    /// Lets it end by itself.
    pub(crate) async fn stop(&mut self) {
        self.stop = None;
        self.wait().await;
    }

    async fn wait(&mut self) {
        if !self.task.is_finished() {
            // How it ended no longer matters.
            let _ = (&mut self.task).await;
        }
    }
}

/// Ready when the sender says so or is gone.
async fn until(stopped: oneshot::Receiver<()>) {
    let _ = stopped.await;
}
