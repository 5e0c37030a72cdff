//! What README prints works as printed: its `console` blocks are run in order, as a reader would, beside a farm.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use isochrone_node_agent::opencl::{OpenClOptions, list_devices};

/// The commands of README's `console` blocks, without their prompts.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut is_console = false;
    let mut commands = Vec::new();
    for line in readme.lines() {
        match line.strip_prefix("```") {
            Some(language) => is_console = language == "console",
            None if is_console => commands.extend(line.strip_prefix("$ ").map(str::to_owned)),
            None => {}
        }
    }
    commands
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A farm of the binary under test; ends with this.
struct Farm {
    child: Child,
    scheduler: String,
    certificates: String,
}

impl Farm {
    fn start(directory: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_isochrone"))
            .args([
                "up",
                "--agents",
                "2",
                "--listen",
                "127.0.0.1:0",
                "--json",
                "--stop-with-input",
                "--directory",
            ])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        Self { child, scheduler: text("scheduler"), certificates: text("certificates") }
    }

    /// Runs what a reader would type, in a shell; gives what it printed.
    fn shell(&self, command: &str, folder: &Path) -> String {
        let binary = Path::new(env!("CARGO_BIN_EXE_isochrone"));
        let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-ec", command])
            .current_dir(folder)
            .env("PATH", path)
            .env("ISOCHRONE_SCHEDULER", &self.scheduler)
            .env("ISOCHRONE_CERTIFICATES", &self.certificates)
            .env("ISOCHRONE_NAME", "local")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{command}` failed:\n{printed}\n{errors}");
        printed
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn commands_and_client_examples_work_as_printed() {
    if let Err(error) = list_devices(&OpenClOptions::default()) {
        assert!(std::env::var_os("ISOCHRONE_NEEDS_OPENCL").is_none(), "{error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(root().join("graphs")).arg(folder.path()).status().unwrap();
    assert!(copied.success());
    let farm = Farm::start(&folder.path().join("farm"));

    let commands = commands();
    assert!(commands.iter().any(|command| command.starts_with("isochrone run ")), "{commands:?}");
    for command in &commands {
        farm.shell(command, folder.path());
    }
    let verified = farm.shell("isochrone run graphs/vector-add/graph.toml --verify", folder.path());
    assert!(verified.contains("verified"), "{verified}");

    // `make unit` builds them; a run of this test alone may find older ones, never none.
    let examples = Path::new(env!("CARGO_BIN_EXE_isochrone")).parent().unwrap().join("examples");
    let sources = std::fs::read_dir(root().join("client/examples")).unwrap();
    let mut count = 0;
    for source in sources {
        let source = source.unwrap().path();
        let example = examples.join(source.file_stem().unwrap());
        assert!(
            example.exists(),
            "{} is not built: run `cargo build --workspace --examples`",
            example.display()
        );
        let printed = farm.shell(&example.display().to_string(), folder.path());
        assert!(!printed.trim().is_empty(), "{} prints what it did", example.display());
        count += 1;
    }
    assert!(count >= 7, "every example of the client was run");
}
