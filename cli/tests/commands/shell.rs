//! The binary under test as a user runs it: in a folder, from a shell, and as daemons that end with the test.

#![expect(clippy::disallowed_methods, reason = "waiting ends at some time")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// No test waits longer than this for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The commands of README's blocks of one language, in order: of `console` blocks what stands behind the prompts,
/// of `sh` blocks every line.
pub fn readme(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut is_inside = false;
    let mut commands = Vec::new();
    for line in readme.lines() {
        match line.strip_prefix("```") {
            Some(opened) => is_inside = opened == language,
            None if is_inside && language == "console" => {
                commands.extend(line.strip_prefix("$ ").map(str::to_owned));
            }
            None if is_inside && !line.is_empty() => commands.push(line.to_owned()),
            None => {}
        }
    }
    commands
}

/// A folder to run commands in, and the variables that they see.
pub struct Shell {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Shell {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Sets a variable for all commands from now on.
    pub fn export(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// What a reader would type. The binary under test is on the path, and nothing of the tester's own settings.
    pub fn command(&self, line: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_isochrone"));
        let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-ec", line]).current_dir(self.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ISOCHRONE_")) {
            command.env_remove(name);
        }
        command.env("PATH", path).envs(self.variables.iter().cloned());
        command
    }

    pub fn output(&self, line: &str) -> Output {
        self.command(line).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must work, and gives what it printed.
    pub fn run(&self, line: &str) -> String {
        let output = self.output(line);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{line}` failed:\n{printed}\n{errors}");
        printed
    }

    /// Runs a command that must fail, and gives what it printed to standard error.
    pub fn fail(&self, line: &str) -> String {
        let output = self.output(line);
        assert!(!output.status.success(), "`{line}` works");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub fn json(&self, line: &str) -> serde_json::Value {
        let printed = self.run(line);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("`{line}`: {error}: {printed}"))
    }

    /// Starts a command that runs until it is told to stop.
    pub fn daemon(&self, line: &str) -> Daemon {
        // The shell's place is taken, so that a signal reaches the daemon itself.
        let mut command = self.command(&format!("exec {line}"));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Daemon { line: line.to_owned(), child }
    }

    /// Repeats a command until it prints what is waited for.
    pub fn await_output(&self, line: &str, is_there: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.output(line);
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() && is_there(&printed) {
                return printed;
            }
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(
                Instant::now() < deadline,
                "`{line}` does not print what must come:\n{printed}\n{errors}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A command that runs until it is told to stop; it is killed if a test leaves it running.
pub struct Daemon {
    line: String,
    child: Child,
}

impl Daemon {
    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        // One byte at a time at most is read ahead of nothing: each daemon prints one line that is read.
        BufReader::with_capacity(1, self.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "`{}` ended without a word", self.line);
        line
    }

    pub fn json_line(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Ends its input, waits until it has ended, well, and gives what it still printed.
    pub fn stops_with_its_input(mut self) -> String {
        drop(self.child.stdin.take());
        let mut printed = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        self.ends();
        printed
    }

    /// Asks it to stop, as an operator would, and waits until it has, well.
    pub fn terminate(self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.ends();
    }

    /// Waits until it has ended, well.
    pub fn ends(mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return assert!(status.success(), "`{}` ended with {status}", self.line),
                None => assert!(Instant::now() < deadline, "`{}` does not stop", self.line),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // The end of their input ends the farms that have been asked for it; others are killed.
            drop(self.child.stdin.take());
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
