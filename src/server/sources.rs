//! Where requests come from: the client behind trusted proxies, and lists of who may speak.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::IpNet;

use crate::config::{ForwardedHeader, Proxies};

/// Who may speak: everybody, or addresses in some ranges. Clones are the same list, and it may be replaced
/// while it is in use.
#[derive(Clone, Debug, Default)]
pub struct AllowList(Arc<RwLock<Option<Vec<IpNet>>>>);

impl AllowList {
    /// Everybody may speak.
    pub fn everybody() -> Self {
        Self::default()
    }

    /// Only addresses in `ranges` may speak; nobody, if there are none.
    pub fn only(ranges: Vec<IpNet>) -> Self {
        Self(Arc::new(RwLock::new(Some(ranges))))
    }

    /// Replaces the ranges for all who hold the list; `None` lets everybody in.
    pub fn replace(&self, ranges: Option<Vec<IpNet>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ranges;
    }

    /// Whether a client may speak. One whose address is not known only where everybody may.
    pub fn allows(&self, peer: Option<IpAddr>) -> bool {
        match (&*self.0.read().unwrap_or_else(PoisonError::into_inner), peer) {
            (None, _) => true,
            (Some(ranges), Some(peer)) => among(ranges, peer),
            (Some(_), None) => false,
        }
    }
}

/// Whether an address lies in one of some ranges. IPv4 in the clothes of IPv6 counts as IPv4.
pub(super) fn among(ranges: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    ranges.iter().any(|range| range.contains(&address))
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Address(IpAddr),
    /// Somebody on this machine.
    Unix,
}

impl Peer {
    /// Whether it may speak for others.
    pub(super) fn trusted(self, proxies: &Proxies) -> bool {
        match self {
            Self::Address(address) => among(&proxies.ranges, address),
            Self::Unix => proxies.unix,
        }
    }
}

/// The client of a request: the peer itself, or whom a trusted proxy names. The rightmost address that is no
/// trusted proxy counts, for whatever stands left of it the client may have written itself.
pub(super) fn client(peer: Peer, proxies: &Proxies, headers: &[(String, String)]) -> Option<IpAddr> {
    let mut known = match peer {
        Peer::Address(address) => Some(address.to_canonical()),
        Peer::Unix => None,
    };
    if !peer.trusted(proxies) {
        return known;
    }
    let name = match proxies.header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    };
    let hops = headers.iter().filter(|(header, _)| header == name).flat_map(|(_, value)| value.split(','));
    let hops: Vec<&str> = hops.collect();
    for hop in hops.into_iter().rev() {
        let hop = match proxies.header {
            ForwardedHeader::XForwardedFor => Some(hop),
            // A comma inside quotes would cut an entry in two; no address has one.
            ForwardedHeader::Forwarded => hop.split(';').find_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                key.trim().eq_ignore_ascii_case("for").then_some(value)
            }),
        };
        // Beyond something that is no address nothing can be believed.
        let Some(address) = hop.and_then(hop_address) else { return known };
        known = Some(address);
        if !among(&proxies.ranges, address) {
            return known;
        }
    }
    known
}

/// An address as proxies write it: bare, with a port, in brackets, in quotes.
fn hop_address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

/// The address that limits are kept by: one IPv6 client has a whole /64 to write from.
pub(super) fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn proxies(ranges: &[&str], unix: bool, header: ForwardedHeader) -> Proxies {
        Proxies { ranges: ranges.iter().map(|range| range.parse().expect("a range")).collect(), unix, header }
    }

    fn header(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_about_the_last_stranger() {
        use ForwardedHeader::{Forwarded, XForwardedFor};
        let cases = [
            // A stranger may claim what it likes.
            (&["10.0.0.0/8"][..], XForwardedFor, "192.0.2.1", "198.51.100.7", "192.0.2.1"),
            (&["10.0.0.0/8"], XForwardedFor, "10.0.0.1", "198.51.100.7", "198.51.100.7"),
            // What the client wrote stands left of what the proxy added.
            (&["10.0.0.0/8"], XForwardedFor, "10.0.0.1", "127.0.0.1, 198.51.100.7", "198.51.100.7"),
            // Two proxies in a row.
            (&["10.0.0.0/8"], XForwardedFor, "10.0.0.1", "1.1.1.1, 198.51.100.7,10.0.0.2", "198.51.100.7"),
            // Only proxies: the one farthest away.
            (&["10.0.0.0/8"], XForwardedFor, "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            // Nothing behind something unreadable is believed.
            (&["10.0.0.0/8"], XForwardedFor, "10.0.0.1", "198.51.100.7, unknown, 10.0.0.2", "10.0.0.2"),
            (&["10.0.0.0/8"], XForwardedFor, "10.0.0.1", "", "10.0.0.1"),
            (&["10.0.0.0/8"], XForwardedFor, "10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
            (&["10.0.0.0/8"], XForwardedFor, "10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
            (&["10.0.0.0/8"], XForwardedFor, "::ffff:10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
            (&["::1/128"], Forwarded, "::1", "for=198.51.100.7;proto=https", "198.51.100.7"),
            (&["::1/128"], Forwarded, "::1", "for=1.1.1.1, proto=https;For=\"[2001:db8::1]:80\"", "2001:db8::1"),
            (&["::1/128"], Forwarded, "::1", "for=_hidden", "::1"),
        ];
        for (ranges, kind, peer, value, wanted) in cases {
            let name = if kind == Forwarded { "forwarded" } else { "x-forwarded-for" };
            let found = client(Peer::Address(ip(peer)), &proxies(ranges, false, kind), &[header(name, value)]);
            assert_eq!(found, Some(ip(wanted)), "{peer} {value}");
        }
    }

    #[test]
    fn the_header_that_the_proxy_does_not_write_is_not_read() {
        let proxies = proxies(&["10.0.0.0/8"], false, ForwardedHeader::XForwardedFor);
        let headers = [header("forwarded", "for=127.0.0.1")];
        assert_eq!(client(Peer::Address(ip("10.0.0.1")), &proxies, &headers), Some(ip("10.0.0.1")));
    }

    #[test]
    fn several_headers_are_one_list() {
        let proxies = proxies(&["10.0.0.0/8"], false, ForwardedHeader::XForwardedFor);
        let headers = [header("x-forwarded-for", "1.1.1.1"), header("x-forwarded-for", "198.51.100.7, 10.0.0.9")];
        assert_eq!(client(Peer::Address(ip("10.0.0.1")), &proxies, &headers), Some(ip("198.51.100.7")));
    }

    #[test]
    fn a_unix_socket_has_no_address_unless_its_peer_is_a_proxy() {
        let headers = [header("x-forwarded-for", "198.51.100.7")];
        let believe = |unix| client(Peer::Unix, &proxies(&[], unix, ForwardedHeader::XForwardedFor), &headers);
        assert_eq!(believe(false), None);
        assert_eq!(believe(true), Some(ip("198.51.100.7")));
    }

    #[test]
    fn a_list_can_be_replaced_while_others_hold_it() {
        let list = AllowList::everybody();
        let other = list.clone();
        assert!(other.allows(None) && other.allows(Some(ip("192.0.2.1"))));
        list.replace(Some(vec!["192.0.2.0/24".parse().expect("a range")]));
        assert!(other.allows(Some(ip("192.0.2.1"))) && other.allows(Some(ip("::ffff:192.0.2.1"))));
        assert!(!other.allows(Some(ip("198.51.100.1"))) && !other.allows(None));
        assert!(!AllowList::only(Vec::new()).allows(Some(ip("192.0.2.1"))), "an empty list is nobody");
    }

    #[test]
    fn one_ipv6_network_is_one_household() {
        assert_eq!(household(ip("2001:db8::1")), household(ip("2001:db8::ffff:1")));
        assert_ne!(household(ip("2001:db8::1")), household(ip("2001:db8:0:1::1")));
        assert_eq!(household(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }
}
