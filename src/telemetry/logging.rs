//! The log of the process, on stderr.

use std::io;

use tracing_subscriber::EnvFilter;

/// Which of our events are printed. Of the libraries below us only warnings are.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum LogLevel {
    /// Only what needs somebody to act.
    Error,
    /// And what may need somebody to act.
    Warn,
    /// And the course of the process.
    #[default]
    Info,
    /// And what was decided for each request.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    fn directive(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "warn,quiver=info",
            Self::Debug => "warn,quiver=debug",
            Self::Trace => "warn,quiver=trace",
        }
    }
}

/// How a line of a log is written.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging for the whole process. A second call changes nothing: the first one stays.
pub fn init_logging(level: LogLevel, format: LogFormat) {
    let filter = EnvFilter::new(level.directive());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    let started = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // It only fails when logging has been started before, and then it is as somebody wanted it.
    drop(started);
}
