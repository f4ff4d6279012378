//! The program of the children that read documents (`EXE extract MODE KIND JOB`). The main program does the same; this
//! one has nothing but them in it, so that one for each document starts in a fraction of the time.

use std::process::ExitCode;

use lettercase::intake::extract::child;

fn main() -> ExitCode {
    child::program(std::env::args().skip(1).collect())
}
