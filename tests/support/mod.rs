//! A server on a free port that answers as it is told, well or badly, and remembers what it was asked.

#![allow(dead_code, reason = "each test needs a part of it")]

pub mod python;

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::AbortOnDropHandle;

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// From the URL.
    pub query: Vec<(String, String)>,
    /// From the body.
    pub form: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
}

impl Asked {
    /// A parameter, wherever it stands.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.form.iter().chain(&self.query).find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status line behind the number, content type and body.
    Page(u16, &'static str, String),
    /// As [`Reply::Page`], with a body that is no text.
    Bytes(u16, &'static str, Vec<u8>),
    /// Status 200 and a body in chunks, without the last chunk.
    CutBytes(&'static str, Vec<u8>),
    /// A body with status 200, compressed.
    Gzip(String),
    /// Status 200 and a body that is cut off behind so many bytes, with the length of the whole in the head.
    Cut(String, usize),
    /// Status 200 in chunks, without the last chunk.
    CutChunks(String),
    /// Compressed, and cut off as if complete.
    CutGzip(String),
    /// Status 200, and then a byte now and then, for ever.
    Trickle,
    /// Nothing, for ever.
    Hang,
    /// Closes the connection without a word.
    Close,
    /// Another address.
    Redirect(String),
    /// Not HTTP.
    Garbage,
}

impl Reply {
    pub fn json(body: impl Into<String>) -> Self {
        Self::Page(200, "application/json", body.into())
    }
}

/// Ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Rung when a client hangs up on a reply that does not end.
    pub hung_up: Arc<Notify>,
    _accepting: AbortOnDropHandle<()>,
}

impl Server {
    pub async fn start(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with_gate(Semaphore::MAX_PERMITS, reply).await
    }

    /// Replies to so many at a time, to the last byte; the others wait in line.
    pub async fn start_with_gate(places: usize, reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let gate = Arc::new(Semaphore::new(places));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (asked, hung_up) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (all_asked, ring, reply) = (Arc::clone(&asked), Arc::clone(&hung_up), Arc::new(reply));
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (all_asked, ring, reply) = (Arc::clone(&all_asked), Arc::clone(&ring), Arc::clone(&reply));
                let gate = Arc::clone(&gate);
                connections.spawn(async move {
                    // Clients that hang up are part of the tests.
                    let _ = serve(stream, &all_asked, &ring, &gate, &*reply).await;
                });
            }
        });
        Self { address, asked, hung_up, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The requests so far, without those that find out what the server can do.
    pub fn asked(&self) -> Vec<Asked> {
        let finds_out = |asked: &Asked| {
            ["/read", "/status/config", "/status/buildinfo"].iter().any(|path| asked.path.ends_with(path))
        };
        self.all_asked().into_iter().filter(|asked| !finds_out(asked)).collect()
    }

    /// All requests so far.
    pub fn all_asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics while it holds this").clone()
    }
}

/// An address where nobody listens.
pub async fn refusing_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

async fn serve(
    mut stream: TcpStream,
    all_asked: &Mutex<Vec<Asked>>,
    hung_up: &Notify,
    gate: &Semaphore,
    reply: &(dyn Fn(&Asked) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let Some(asked) = read_request(&mut stream).await? else { return Ok(()) };
    let _place = gate.acquire().await;
    let reply = reply(&asked);
    all_asked.lock().expect("no test panics while it holds this").push(asked);
    match reply {
        Reply::Page(status, content_type, body) => {
            write_page(&mut stream, status, content_type, body.as_bytes()).await?
        }
        Reply::Bytes(status, content_type, body) => write_page(&mut stream, status, content_type, &body).await?,
        Reply::CutBytes(content_type, body) => {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: ";
            stream.write_all(format!("{head}{content_type}\r\n\r\n{:x}\r\n", body.len()).as_bytes()).await?;
            stream.write_all(&body).await?;
            stream.write_all(b"\r\n").await?;
        }
        Reply::Gzip(body) => write_gzip(&mut stream, &gzip(&body)).await?,
        Reply::CutGzip(body) => {
            let whole = gzip(&body);
            write_gzip(&mut stream, &whole[..whole.len() / 2]).await?;
        }
        Reply::Cut(body, bytes) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body.as_bytes()[..bytes]).await?;
        }
        Reply::CutChunks(body) => {
            let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len());
            stream.write_all(head.as_bytes()).await?;
        }
        Reply::Trickle => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await?;
            let mut pulse = tokio::time::interval(std::time::Duration::from_millis(5));
            while stream.write_all(b" ").await.is_ok() {
                pulse.tick().await;
            }
            hung_up.notify_one();
        }
        Reply::Hang => {
            let mut byte = [0];
            // Returns when the client closes the connection.
            let _ = stream.read(&mut byte).await;
            hung_up.notify_one();
        }
        Reply::Close => {}
        Reply::Redirect(to) => {
            let head =
                format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
        Reply::Garbage => stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n").await?,
    }
    stream.shutdown().await
}

async fn write_page(stream: &mut TcpStream, status: u16, content_type: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} Reason\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}

async fn write_gzip(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("a Vec takes everything");
    encoder.finish().expect("a Vec takes everything")
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let url = words.next().unwrap_or_default();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + 4 + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    let pairs = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect();
    let body = bytes[head_end + 4..].to_vec();
    let form = pairs(&body);
    Ok(Some(Asked { method, path: path.to_owned(), query: pairs(query.as_bytes()), form, body, headers }))
}
