//! Starts the program: one command line, one command, its outcome as an exit code.

fn main() -> std::process::ExitCode {
    evenkeel::cli::main()
}
