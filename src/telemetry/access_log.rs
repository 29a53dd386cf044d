//! One line for each request, in promxy's two formats.
//!
//! Lines are written by a thread of their own: a slow pipe must never hold up a query. When it is slower than the
//! requests for long, lines are dropped and counted, and the count is written once there is room again.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};

use super::LogFormat;

/// So many lines may wait for a slow reader: about one megabyte.
const WAITING_LINES_MAX: usize = 4_096;

/// Parameters of a form whose values never reach the log, in lower case. None of them means anything to us, but clients
/// send what they like.
const SECRET_PARAMETERS: [&str; 9] =
    ["password", "passwd", "secret", "token", "access_token", "api_key", "apikey", "authorization", "credentials"];

/// What is said of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessRecord {
    /// Who asked.
    pub remote: Option<IpAddr>,
    /// When the last byte was sent.
    pub finished: SystemTime,
    /// `GET`, …
    pub method: String,
    /// Path without query.
    pub path: String,
    /// `HTTP/1.1`, …
    pub protocol: String,
    /// HTTP status.
    pub status: u16,
    /// Name of the gRPC status, of a gRPC call.
    pub grpc_code: Option<&'static str>,
    /// Bytes of the body as they were sent.
    pub response_bytes: u64,
    /// From the first byte of the request to the last one of the answer.
    pub duration: Duration,
    /// The form, URL-encoded and cut: see [`form_for_log`].
    pub form: String,
}

impl AccessRecord {
    /// `IP - - [22/Nov/2026 11:49:21] "GET /api/v1/labels HTTP/1.1 200 69" 0.043984 match%5B%5D=up`
    fn text_line(&self) -> String {
        let remote = self.remote.map_or_else(|| "-".to_owned(), |remote| remote.to_canonical().to_string());
        let finished = DateTime::<Utc>::from(self.finished).format("%d/%b/%Y %H:%M:%S");
        let Self { method, path, protocol, status, grpc_code, response_bytes, form, .. } = self;
        let seconds = self.duration.as_secs_f64();
        let mut line =
            format!("{remote} - - [{finished}] \"{method} {path} {protocol} {status} {response_bytes}\" {seconds:.6}");
        if let Some(code) = grpc_code {
            line.push_str(" grpc=");
            line.push_str(code);
        }
        if !form.is_empty() {
            line.push(' ');
            line.push_str(form);
        }
        line
    }

    fn json_line(&self) -> String {
        let mut line = serde_json::json!({
            "remoteAddr": self.remote.map(|remote| remote.to_canonical().to_string()),
            "time": DateTime::<Utc>::from(self.finished).to_rfc3339_opts(SecondsFormat::Millis, true),
            "method": self.method,
            "path": self.path,
            "protocol": self.protocol,
            "status": self.status,
            "responseBytes": self.response_bytes,
            "duration": self.duration.as_secs_f64(),
            "query": self.form,
        });
        if let Some(code) = self.grpc_code {
            line["grpcCode"] = code.into();
        }
        line.to_string()
    }
}

/// A form as it may stand in a log: URL-encoded, values of secret parameters replaced, cut to `bytes_max`.
///
/// | form | in the log |
/// |---|---|
/// | `match[]` = `up` | `match%5B%5D=up` |
/// | `token` = `abc` | `token=<secret>` |
pub fn form_for_log<'a>(form: impl IntoIterator<Item = (&'a str, &'a str)>, bytes_max: usize) -> String {
    let mut line = String::new();
    for (name, value) in form {
        if line.len() >= bytes_max {
            break;
        }
        if !line.is_empty() {
            line.push('&');
        }
        // Encoding never shortens a text, so what lies behind `bytes_max` bytes cannot be seen.
        let visible = floor_char_boundary(value, bytes_max);
        line.extend(url::form_urlencoded::byte_serialize(name.as_bytes()));
        if SECRET_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) {
            line.push_str("=<secret>");
        } else {
            line.push('=');
            line.extend(url::form_urlencoded::byte_serialize(visible.as_bytes()));
        }
    }
    line.truncate(bytes_max.min(line.len()));
    line
}

fn floor_char_boundary(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Where access records go. Cheap to clone; the last one that is dropped writes what is waiting.
#[derive(Clone, Debug)]
pub struct AccessLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    format: LogFormat,
    lines: Option<SyncSender<String>>,
    dropped: Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Starts a thread that writes to `destination`.
    pub fn try_new(format: LogFormat, destination: Box<dyn Write + Send>) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING_LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let dropped_too = Arc::clone(&dropped);
        let writer = std::thread::Builder::new()
            .name("quiver-access-log".to_owned())
            .spawn(move || write_lines(&waiting, &dropped_too, destination))?;
        Ok(Self(Arc::new(Shared { format, lines: Some(lines), dropped, writer: Mutex::new(Some(writer)) })))
    }

    /// Hands one record over. Never waits.
    pub fn write(&self, record: &AccessRecord) {
        let line = match self.0.format {
            LogFormat::Text => record.text_line(),
            LogFormat::Json => record.json_line(),
        };
        if let Some(lines) = &self.0.lines
            && let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = lines.try_send(line)
        {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Closing the channel ends the thread once it has written everything.
        self.lines = None;
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the access log stopped writing");
        }
    }
}

fn write_lines(waiting: &Receiver<String>, dropped: &AtomicU64, mut destination: Box<dyn Write + Send>) {
    while let Ok(mut line) = waiting.recv() {
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            write!(line, "\n# {lost} lines of the access log were dropped: its reader is too slow")
                .expect("a String takes everything");
        }
        line.push('\n');
        // One flush for all lines that wait, so that a busy server does not make a system call for each.
        while let Ok(next) = waiting.try_recv() {
            line.push_str(&next);
            line.push('\n');
            if line.len() > 64 * 1024 {
                break;
            }
        }
        if destination.write_all(line.as_bytes()).and_then(|()| destination.flush()).is_err() {
            // Whoever read the log has gone. The server goes on without it.
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AccessRecord {
        AccessRecord {
            remote: Some("::ffff:10.0.0.1".parse().expect("an address")),
            finished: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_348_161_250),
            method: "GET".to_owned(),
            path: "/api/v1/labels".to_owned(),
            protocol: "HTTP/1.1".to_owned(),
            grpc_code: None,
            status: 200,
            response_bytes: 69,
            duration: Duration::from_micros(43_984),
            form: "match%5B%5D=up".to_owned(),
        }
    }

    #[test]
    fn lines_are_those_of_promxy() {
        assert_eq!(
            record().text_line(),
            "10.0.0.1 - - [22/Nov/2026 11:49:21] \"GET /api/v1/labels HTTP/1.1 200 69\" 0.043984 match%5B%5D=up"
        );
        let json: serde_json::Value = serde_json::from_str(&record().json_line()).expect("valid JSON");
        assert_eq!(json["time"], "2026-11-22T11:49:21.250Z");
        assert_eq!(json["query"], "match%5B%5D=up");
        assert_eq!(json["responseBytes"], 69);
    }

    #[test]
    fn forms_are_cut_and_show_no_secret() {
        for (form, bytes_max, line) in [
            (vec![("match[]", "up"), ("end", "1")], 256, "match%5B%5D=up&end=1"),
            (vec![("query", "aé")], 256, "query=a%C3%A9"),
            (vec![("query", "aé")], 8, "query=a%"),
            (vec![("Token", "hunter2"), ("a", "b")], 256, "Token=<secret>&a=b"),
            (vec![("query", "up")], 0, ""),
        ] {
            assert_eq!(form_for_log(form.iter().copied(), bytes_max), line);
        }
        let huge = "x".repeat(1_000_000);
        assert_eq!(form_for_log([("query", huge.as_str())], 256).len(), 256);
    }

    #[test]
    fn everything_is_written_before_the_log_is_gone() {
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().expect("not poisoned").extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink::default();
        let log = AccessLog::try_new(LogFormat::Text, Box::new(sink.clone())).expect("a thread");
        for _ in 0..100 {
            log.write(&record());
        }
        drop(log);
        let written = String::from_utf8(sink.0.lock().expect("not poisoned").clone()).expect("text");
        assert_eq!(written.lines().count(), 100);
    }
}
