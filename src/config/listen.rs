//! The `[listen]` section: where the HTTP listener stands, whom it believes, and each of its bounds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::load::{count, seconds};
use super::ranges::ranges;
use super::section::{Given, Section};

/// Everything about the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where it listens.
    pub address: ListenAddress,
    /// Whose word on the client's address is taken.
    pub proxies: Proxies,
    /// Who may speak at all; empty means everybody.
    pub allow: Vec<IpNet>,
    /// What it bears.
    pub limits: ListenLimits,
}

/// Where the listener stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The sockets that systemd hands over.
    Systemd,
}

/// Who may say where a request really comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Addresses of proxies.
    pub ranges: Vec<IpNet>,
    /// Whether whoever reaches the Unix socket is a proxy.
    pub unix: bool,
    /// The one header they say it in. Just one: a proxy that writes the one lets the other through as the
    /// client sent it.
    pub header: ForwardedHeader,
}

/// The header in which a proxy names the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: client, proxy`
    #[default]
    XForwardedFor,
    /// `Forwarded: for=client` (RFC 7239)
    Forwarded,
}

/// What the listener bears; beyond each of these it refuses or lets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenLimits {
    /// Open connections; at most as many as file descriptors allow.
    pub connections_max: usize,
    /// Open connections of one address (of one /64 for IPv6), trusted proxies aside.
    pub connections_per_address_max: usize,
    /// Bytes of a request's head: request line and headers.
    pub header_bytes_max: usize,
    /// Header lines of a request.
    pub headers_max: usize,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// Bytes held for all connections together: heads, bodies, answers not yet taken.
    pub buffered_bytes_max: usize,
    /// The time to send a whole request.
    pub request_timeout: Duration,
    /// The time to take a whole answer.
    pub answer_timeout: Duration,
    /// The time a connection may rest between two requests.
    pub idle_timeout: Duration,
    /// Requests a second of one address (of one /64 for IPv6); twice as many at once.
    pub requests_per_second_per_address: u32,
    /// Requests a second of all; twice as many at once.
    pub requests_per_second: u32,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            connections_per_address_max: 1_024,
            header_bytes_max: 16 << 10,
            headers_max: 64,
            // The largest event acted on: an edited issue, twice 65,536 characters of at most 12 escaped bytes
            // (two `\uXXXX`), and what stands around them. GitHub sends up to 25 MiB, of kinds that are not read.
            body_bytes_max: 4 << 20,
            buffered_bytes_max: 64 << 20,
            // Both services give a delivery up after 10 seconds.
            request_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            requests_per_second_per_address: 500,
            requests_per_second: 2_000,
        }
    }
}

const ADDRESSES: &str =
    "an address with a port such as \"127.0.0.1:8080\", \"unix:/run/evenkeel/listen\", or \"systemd\"";

/// Reads the section; `None` when no address is given, and so nothing listens.
pub(super) fn listen(root: &Section<'_, '_>) -> Option<Listen> {
    let section = root.section("listen");
    let address = match section.text("address", "127.0.0.1:8080") {
        Given::Is(text, line) => match parse_address(&text) {
            Ok(address) => Some(address),
            Err(why) => {
                section.fault_value(line, "address", &text, format!("{why}; write {ADDRESSES}"));
                None
            }
        },
        Given::Not | Given::Wrong => None,
    };
    let (ranges_trusted, unix) = ranges(&section, "trusted_proxies", "127.0.0.1/32", Some("unix"));
    let mut proxies = Proxies { ranges: ranges_trusted, unix, ..Proxies::default() };
    let headers = [("x-forwarded-for", ForwardedHeader::XForwardedFor), ("forwarded", ForwardedHeader::Forwarded)];
    proxies.header = section.word("forwarded_header", "header", &headers, ForwardedHeader::default());
    let (allow, _) = ranges(&section, "allow", "192.0.2.0/24", None);
    let limits = limits(&section);
    section.finish();
    Some(Listen { address: address?, proxies, allow, limits })
}

fn limits(section: &Section<'_, '_>) -> ListenLimits {
    let default = ListenLimits::default();
    let size = |key, low, high, default: usize| {
        usize::try_from(section.number(key, low..=high, default as u64)).unwrap_or(default)
    };
    let found = ListenLimits {
        // A million is the kernel's usual ceiling for the descriptors of one process.
        connections_max: size("connections_max", 8, 1_000_000, default.connections_max),
        connections_per_address_max: size(
            "connections_per_address_max",
            4,
            1_000_000,
            default.connections_per_address_max,
        ),
        // GitHub's heads are below 1 KiB; a proxy adds to them.
        header_bytes_max: size("header_bytes_max", 2_048, 262_144, default.header_bytes_max),
        headers_max: size("headers_max", 16, 256, default.headers_max),
        // Below 64 KiB not even usual events pass; 25 MiB is the most GitHub sends.
        body_bytes_max: size("body_bytes_max", 65_536, 26_214_400, default.body_bytes_max),
        buffered_bytes_max: size("buffered_bytes_max", 1 << 20, 4 << 30, default.buffered_bytes_max),
        request_timeout: seconds(section, "request_seconds", 1, 300, default.request_timeout),
        answer_timeout: seconds(section, "answer_seconds", 1, 300, default.answer_timeout),
        idle_timeout: seconds(section, "idle_seconds", 1, 3_600, default.idle_timeout),
        requests_per_second_per_address: count(
            section,
            "requests_per_second_per_address",
            1,
            1_000_000,
            default.requests_per_second_per_address,
        ),
        requests_per_second: count(section, "requests_per_second", 1, 1_000_000, default.requests_per_second),
    };
    // One request must fit, and not be all there is room for.
    let wanted = 2 * (found.body_bytes_max + found.header_bytes_max);
    if found.buffered_bytes_max < wanted
        && let Some(line) = section.line
    {
        section.fault(
            line,
            "buffered_bytes_max",
            format!(
                "{} is less than two requests of body_bytes_max and header_bytes_max; write at least {wanted}",
                found.buffered_bytes_max
            ),
        );
    }
    found
}

fn parse_address(text: &str) -> Result<ListenAddress, &'static str> {
    if text == "systemd" {
        return Ok(ListenAddress::Systemd);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        // What the kernel takes: 108 bytes with the zero at the end.
        return match path.len() {
            0 => Err("the path is missing"),
            1..=107 if !path.contains('\0') => Ok(ListenAddress::Unix(PathBuf::from(path))),
            _ => Err("not a path of at most 107 bytes"),
        };
    }
    text.parse().map(ListenAddress::Tcp).map_err(|_| "not an address with a port")
}
