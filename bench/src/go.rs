//! The Go contenders (`go/`): a program of its own, built once with the `go` command where there is one.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::figure::{Sample, Scale, Skip};

/// Builds the Go program, and says what it was built with.
pub fn build() -> Result<String, Skip> {
    // What an earlier run built must not take part if it cannot be built now. Nothing to remove is as good.
    let _ = fs::remove_file(program());
    let version =
        Command::new("go").arg("version").output().map_err(|_| Skip::absent("no `go` command (Debian: golang-go)"))?;
    let built = Command::new("go").current_dir(source()).args(["build", "-o"]).arg(program()).status()?;
    if !built.success() {
        return Err(Skip::failed("`go build` failed"));
    }
    let version = String::from_utf8_lossy(&version.stdout);
    Ok(version.split_whitespace().nth(2).unwrap_or("unknown").to_owned())
}

/// One of the Go program's parts, on this many processors.
pub fn command(part: &str, processors: usize) -> Result<Command, Skip> {
    if !program().exists() {
        return Err(Skip::absent("no `go` command (Debian: golang-go)"));
    }
    let mut command = Command::new(program());
    command.arg(part).env("GOMAXPROCS", processors.to_string());
    Ok(command)
}

/// Runs a part that measures, on one processor, and reads the sample it prints.
pub fn measure(part: &str, scale: Scale) -> Result<Sample, Skip> {
    let output = command(part, 1)?.arg(scale.pick("full", "quick")).stderr(Stdio::inherit()).output()?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Skip::failed(format!("the Go program printed no sample: {error}")))
}

fn source() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/go"))
}

/// Beside this very program, wherever that was built.
fn program() -> PathBuf {
    let own = env::current_exe().expect("the system knows the path of this program");
    own.with_file_name("greenloom-bench-go")
}
