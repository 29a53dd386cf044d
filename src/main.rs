//! The `quiver` binary: command line in, exit code out. Everything else is in the library.

use std::io::Write;
use std::process::ExitCode;

use quiver::cli::Cli;
use tikv_jemallocator::Jemalloc;

/// Tables of a mebibyte come and go by the thousand. glibc gives each back to the system at once, and its pages are cleared and
/// mapped anew for the next one; jemalloc keeps them for some seconds.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let code = match Cli::try_from_args(std::env::args_os()) {
        Ok(cli) => quiver::app::run(cli),
        Err(exit) => {
            let written = match exit.code {
                0 => write!(std::io::stdout(), "{}", exit.text),
                _ => write!(std::io::stderr(), "{}", exit.text),
            };
            // A closed pipe, as of `quiver --help | head`, is no failure of ours.
            drop(written);
            exit.code
        }
    };
    ExitCode::from(code)
}
