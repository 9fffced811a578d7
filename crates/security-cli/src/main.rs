//! The security command.

fn main() {
    std::process::exit(security_cli::run(std::env::args_os()));
}
