//! The one program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((word, rest)) if word == "extract" => lettercase::outside::extract::child::main(rest),
        _ => ExitCode::FAILURE,
    }
}
