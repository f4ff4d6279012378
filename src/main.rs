//! The program.

use std::process::ExitCode;

fn main() -> ExitCode {
    lettercase::cli::main()
}
