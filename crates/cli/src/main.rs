//! The command `greenloom`, as cargo installs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(greenloom_cli::run(std::env::args_os().skip(1)))
}
