//! The sandbox over HTTP on loopback, for the demo, the command line and the official clients.
//!
//! Bare tiny_http: for this machine's own clients only, never for a network (one hostile request ends it).

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;
use tiny_http::{Header, Server, StatusCode};

use super::{Exchange, Sandbox};
use crate::model::{BySide, Side};
use crate::provider::http::{Method, Request, Response};

/// Threads that answer, for each side: GitHub allows a hundred at once, our own client uses a few.
const WORKERS: usize = 4;
/// The largest request body read, in bytes; an issue's body is 64 KiB of characters at most.
const BODY_BYTES_MAX: u64 = 4 << 20;
/// Smaller answers are not worth packing.
const PACK_BYTES_MIN: usize = 1024;

/// A sandbox being served. Dropping it stops the servers; on connections left open nothing is answered any more.
pub struct Served {
    /// Where each side is found, without a slash at the end.
    pub base_urls: BySide<String>,
    sandbox: Sandbox,
    servers: Vec<Arc<Server>>,
    workers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Served {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Served at {} and {}", self.base_urls.tracker, self.base_urls.forge)
    }
}

impl Served {
    pub(super) fn start(sandbox: Sandbox) -> std::io::Result<Self> {
        let base_urls = BySide { tracker: String::new(), forge: String::new() };
        let mut served = Self { base_urls, sandbox, servers: Vec::new(), workers: Vec::new() };
        for side in Side::BOTH {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            // Inherited by every connection. tiny_http writes head and body apart, and held back by Nagle's rule
            // the body would wait some 40 ms for the client's delayed acknowledgement, on each answer.
            rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
            let server = Arc::new(Server::from_listener(listener, None).map_err(std::io::Error::other)?);
            let address = server.server_addr().to_ip().ok_or_else(|| std::io::Error::other("no address"))?;
            let root = format!("http://{address}");
            served.base_urls[side] = match side {
                Side::Tracker => format!("{root}/api/1.0"),
                Side::Forge => root.clone(),
            };
            served.sandbox.state().bases.push((served.base_urls[side].clone(), side));
            served.servers.push(Arc::clone(&server));
            for number in 0..WORKERS {
                let (server, sandbox, root) = (Arc::clone(&server), served.sandbox.clone(), root.clone());
                let name = format!("sandbox-{}-{number}", side.service());
                let worker = std::thread::Builder::new().name(name).spawn(move || {
                    // An error is the server's end: it was unblocked to stop.
                    while let Ok(request) = server.recv() {
                        serve_one(&sandbox, &root, request);
                    }
                })?;
                served.workers.push(worker);
            }
        }
        Ok(served)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        for server in &self.servers {
            // One wake-up for each worker that waits.
            for _ in 0..WORKERS {
                server.unblock();
            }
        }
        for worker in self.workers.drain(..) {
            // A worker that panicked has been heard of on standard error.
            let _ = worker.join();
        }
        let urls = &self.base_urls;
        self.sandbox.state().bases.retain(|(base, _)| *base != urls.tracker && *base != urls.forge);
    }
}

/// Answers one request. What goes wrong between us and the client is the client's to notice.
fn serve_one(sandbox: &Sandbox, root: &str, mut incoming: tiny_http::Request) {
    let method = match incoming.method() {
        tiny_http::Method::Get | tiny_http::Method::Head => Method::Get,
        tiny_http::Method::Post => Method::Post,
        tiny_http::Method::Put => Method::Put,
        tiny_http::Method::Patch => Method::Patch,
        tiny_http::Method::Delete => Method::Delete,
        _ => {
            let _ = incoming.respond(tiny_http::Response::empty(405));
            return;
        }
    };
    let headers = incoming
        .headers()
        .iter()
        .map(|header| (header.field.as_str().as_str().to_ascii_lowercase(), header.value.as_str().to_owned()));
    let headers: Vec<(String, String)> = headers.collect();
    let packs = headers.iter().any(|(name, value)| name == "accept-encoding" && value.contains("gzip"));
    let url = format!("{root}{}", incoming.url());
    let mut body = Vec::new();
    if incoming.as_reader().take(BODY_BYTES_MAX).read_to_end(&mut body).is_err() {
        return;
    }
    match sandbox.exchange(&Request { method, url, headers, body }, None).0 {
        Exchange::Answer(response) => {
            let _ = incoming.respond(packed(response, packs));
        }
        Exchange::Bomb(bytes) => {
            let mut response = Response { status: 200, headers: Vec::new(), body: bomb(bytes) };
            response.headers.push(("content-encoding".to_owned(), "gzip".to_owned()));
            response.headers.push(("content-type".to_owned(), "application/json".to_owned()));
            let _ = incoming.respond(packed(response, false));
        }
        // tiny_http closes no connection on demand: an answer that breaks off inside a chunk, in a way no
        // client can mistake for waiting, is the nearest thing.
        Exchange::Refused | Exchange::Cut => {
            let mut writer = incoming.into_writer();
            let _ =
                writer.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"data\":\r\nbroken\r\n");
            let _ = writer.flush();
        }
    }
}

fn packed(response: Response, packs: bool) -> tiny_http::Response<std::io::Cursor<Vec<u8>>> {
    let Response { status, mut headers, mut body } = response;
    if packs && body.len() >= PACK_BYTES_MIN {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        if let Ok(small) = encoder.write_all(&body).and_then(|()| encoder.finish()) {
            headers.push(("content-encoding".to_owned(), "gzip".to_owned()));
            body = small;
        }
    }
    let length = body.len();
    let headers = headers.iter().filter_map(|(name, value)| Header::from_bytes(name.as_bytes(), value.as_bytes()).ok());
    let headers = headers.collect();
    tiny_http::Response::new(StatusCode(status), headers, std::io::Cursor::new(body), Some(length), None)
        // Whole answers with a length, never chunks: some clients count on it.
        .with_chunked_threshold(usize::MAX)
}

/// `bytes` of spaces in front of an empty object, packed.
fn bomb(bytes: u64) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let block = [b' '; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left.min(block.len() as u64)).unwrap_or(block.len());
        // Writing to memory has no I/O to fail.
        let _ = encoder.write_all(block.get(..part).unwrap_or(&block));
        left -= part as u64;
    }
    let _ = encoder.write_all(b"{}");
    encoder.finish().unwrap_or_default()
}
