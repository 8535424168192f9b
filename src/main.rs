//! The program: see `mostream --help`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
