//! Members of a farm as processes of the `isochrone` binary.
//!
//! A process ends when its standard input does, so that nothing is left behind however this one ends;
//! its log goes to a file. Must never signal a process that it did not start.

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::error::{FarmError, Member};

/// How long a member may take to end by itself: an agent waits up to 10 s for its devices.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Lines of a log that are shown when its process ended.
const LOG_LINES_SHOWN: usize = 12;

/// The event of the line that a scheduler prints when it listens.
pub const READY_LISTENING: &str = "listening";

/// The line of JSON that a daemon prints with `--json` when it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyLine {
    /// What has happened: [`READY_LISTENING`].
    pub event: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// One process.
#[derive(Debug)]
pub(crate) struct MemberProcess {
    member: Member,
    child: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
    log_path: PathBuf,
    /// Once it has ended and that was noticed.
    status: Option<ExitStatus>,
}

impl MemberProcess {
    /// Starts the binary with these arguments; the log goes to a file of the member's name in `logs`.
    pub(crate) fn spawn(
        member: Member,
        binary: &Path,
        arguments: &[OsString],
        environment: &[(String, String)],
        logs: &Path,
    ) -> Result<Self, FarmError> {
        let log_path = logs.join(match &member {
            Member::Scheduler => "scheduler.log".to_owned(),
            Member::Agent(name) => format!("{name}.log"),
        });
        let log = File::create(&log_path)
            .map_err(|source| FarmError::Directory { path: log_path.clone(), source })?;
        let mut command = Command::new(binary);
        // What this process was told by its environment is not meant for members of the farm, but for
        // what is to be logged.
        for (name, _) in std::env::vars_os() {
            let is_ours = name.to_str().is_some_and(|name| name.starts_with("ISOCHRONE_"));
            if is_ours && name != "ISOCHRONE_LOG" {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log))
            .kill_on_drop(true);
        // An interrupt from the terminal is for this process, which then stops its members in order.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(|source| FarmError::Spawn {
            member: member.clone(),
            binary: binary.to_owned(),
            source,
        })?;
        let input = child.stdin.take();
        let output = child.stdout.take().map(BufReader::new);
        Ok(Self { member, child, input, output, log_path, status: None })
    }

    /// Waits for the line that says where it listens.
    pub(crate) async fn listening(&mut self, timeout: Duration) -> Result<SocketAddr, FarmError> {
        let mut line = String::new();
        let reading = async {
            if let Some(output) = &mut self.output {
                // A member that cannot be read from has ended, which is found below.
                let _ = output.read_line(&mut line).await;
            }
        };
        let is_late = tokio::time::timeout(timeout, reading).await.is_err();
        if let Ok(ReadyLine { event, address }) = serde_json::from_str(&line)
            && event == READY_LISTENING
        {
            return Ok(address);
        }
        if is_late {
            return Err(self.not_ready(timeout));
        }
        // Its output has ended, so it is about to.
        match tokio::time::timeout(timeout, self.child.wait()).await {
            Ok(Ok(status)) => {
                self.status = Some(status);
                Err(self.ended_error(status))
            }
            Ok(Err(_)) | Err(_) => Err(self.not_ready(timeout)),
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            // A child that cannot be waited for is taken to run.
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    pub(crate) fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    pub(crate) fn ended_error(&self, status: ExitStatus) -> FarmError {
        FarmError::Ended { member: self.member.clone(), status: status.to_string(), log: self.log_end() }
    }

    pub(crate) fn not_ready(&self, waited: Duration) -> FarmError {
        FarmError::NotReady { member: self.member.clone(), waited, log: self.log_end() }
    }

    /// The last lines of its log; empty when it cannot be read.
    fn log_end(&self) -> String {
        let bytes = std::fs::read(&self.log_path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// Ends it at once and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        if self.ended().is_none() {
            // What is gone already need not be killed.
            let _ = self.child.start_kill();
            self.status = self.child.wait().await.ok();
        }
    }

    /// Lets it end by itself, and kills it when it does not.
    pub(crate) async fn stop(&mut self) {
        self.input = None;
        if self.ended().is_some() {
            return;
        }
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(status) => self.status = status.ok(),
            Err(_) => {
                tracing::warn!(member = %self.member, "did not end in time and is killed");
                self.kill().await;
            }
        }
    }
}
