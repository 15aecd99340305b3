//! The `qasedak` program. Everything is in the library, so that tests and tools reach it too.

fn main() -> std::process::ExitCode {
    qasedak::cli::main()
}
