//! Who has to go, in small tables.

use std::net::IpAddr;

use super::*;

fn address(last: u8) -> Source {
    Source::Address(IpAddr::from([192, 0, 2, last]))
}

fn table(connections: usize, per_address: usize, bytes: usize) -> (Arc<Table>, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    (Table::new(connections, per_address, bytes, Arc::clone(&counters)), counters)
}

/// Whether a connection has to go.
fn cut(seat: &Seat) -> bool {
    !lock(&seat.table.rows).rows.contains_key(&seat.id)
}

#[test]
fn a_full_house_drops_from_the_address_with_most_the_oldest() {
    let (table, _) = table(4, 4, 100);
    let seats = [1, 2, 2, 1, 2].map(|last| table.admit(address(last)).expect("a seat"));
    // The fifth came at the cost of the older of those of which there were... two and two: the oldest of all.
    assert_eq!(seats.each_ref().map(cut), [true, false, false, false, false]);
    let more = table.admit(address(3)).expect("a seat");
    assert_eq!(seats.each_ref().map(cut), [true, true, false, false, false]);
    assert!(!cut(&more));
    assert_eq!(table.load().0, 4);
}

#[test]
fn who_rests_goes_before_who_is_at_work_and_who_is_answered_never() {
    let (table, counters) = table(3, 3, 100);
    let [first, second, third] = [1, 1, 1].map(|last| table.admit(address(last)).expect("a seat"));
    first.state(State::InHand);
    third.state(State::Resting);
    let fourth = table.admit(address(1)).expect("a seat");
    assert_eq!([&first, &second, &third, &fourth].map(cut), [false, false, true, false]);
    let fifth = table.admit(address(1)).expect("a seat");
    assert_eq!([&first, &second, &fourth, &fifth].map(cut), [false, true, false, false]);
    for seat in [&fourth, &fifth] {
        seat.state(State::InHand);
    }
    assert_eq!(table.admit(address(2)).err(), Some(Full));
    assert_eq!(counters.refused(), [(Refusal::ConnectionsFull, 2)]);
}

#[test]
fn one_address_at_its_bound_pays_for_itself() {
    let (table, _) = table(100, 2, 100);
    let stranger = table.admit(address(9)).expect("a seat");
    let seats = [1, 1, 1].map(|last| table.admit(address(last)).expect("a seat"));
    assert_eq!(seats.each_ref().map(cut), [true, false, false]);
    assert!(!cut(&stranger));
    // A proxy speaks for many.
    let proxies = [(); 5].map(|()| table.admit(Source::Proxy).expect("a seat"));
    assert_eq!(proxies.each_ref().map(cut), [false; 5]);
}

#[test]
fn a_proxys_connections_go_last() {
    let (table, _) = table(3, 3, 100);
    let proxies = [(); 2].map(|()| table.admit(Source::Proxy).expect("a seat"));
    let stranger = table.admit(address(1)).expect("a seat");
    let _new = table.admit(address(2)).expect("a seat");
    assert_eq!(proxies.each_ref().map(cut), [false; 2]);
    assert!(cut(&stranger));
}

#[test]
fn the_bytes_are_taken_from_the_largest_holder_of_the_address_that_holds_most() {
    let (table, counters) = table(10, 10, 100);
    let [small, large, other] = [1, 1, 2].map(|last| table.admit(address(last)).expect("a seat"));
    assert_eq!([small.charge(20), large.charge(40), other.charge(35)], [Ok(()); 3]);
    let new = table.admit(address(3)).expect("a seat");
    assert_eq!(new.charge(10), Ok(()));
    assert_eq!([&small, &large, &other, &new].map(cut), [false, true, false, false]);
    assert_eq!(table.load(), (3, 65));
    assert_eq!(counters.refused(), [(Refusal::BytesFull, 1)]);
    // Who was cut holds nothing any more, whatever its task still does.
    assert_eq!(large.charge(1), Err(Full));
    large.release(40);
    drop(large);
    assert_eq!(table.load(), (3, 65));
}

#[test]
fn who_holds_most_itself_is_refused_and_keeps_what_it_has() {
    let (table, _) = table(10, 10, 100);
    let [small, large] = [1, 2].map(|last| table.admit(address(last)).expect("a seat"));
    assert_eq!([small.charge(10), large.charge(60)], [Ok(()); 2]);
    assert_eq!(large.charge(40), Err(Full));
    assert_eq!([&small, &large].map(cut), [false, false]);
    assert_eq!(table.load(), (2, 70));
    large.release(60);
    assert_eq!(large.charge(40), Ok(()));
}

#[test]
fn what_is_being_answered_keeps_its_bytes() {
    let (table, _) = table(10, 10, 100);
    let [busy, new] = [1, 2].map(|last| table.admit(address(last)).expect("a seat"));
    assert_eq!(busy.charge(90), Ok(()));
    busy.state(State::InHand);
    assert_eq!(new.charge(20), Err(Full));
    assert!(!cut(&busy));
}

#[test]
fn a_client_behind_a_proxy_pays_for_itself() {
    let (table, _) = table(10, 10, 100);
    let [first, second] = [(); 2].map(|()| table.admit(Source::Proxy).expect("a seat"));
    first.charge(60).expect("room");
    first.attribute(address(1));
    second.attribute(address(2));
    assert_eq!(second.charge(50), Ok(()));
    assert!(cut(&first));
    drop((first, second));
    assert_eq!(table.load(), (0, 0));
    assert!(lock(&table.rows).shares.is_empty(), "nothing is kept of those who are gone");
}

#[test]
fn a_buffer_is_charged_for_what_it_keeps() {
    let (table, _) = table(10, 10, 10_000);
    let seat = table.admit(address(1)).expect("a seat");
    let mut buffer = Buffer::default();
    for _ in 0..50 {
        buffer.extend(&seat, &[0; 100], 5_000).expect("room");
        assert!(table.load().1 >= buffer.bytes.len() && table.load().1 >= buffer.bytes.capacity());
    }
    assert_eq!(table.load().1, 5_000);
    buffer.consume(&seat, 4_999);
    assert_eq!(buffer.bytes.len(), 1);
    buffer.consume(&seat, 1);
    assert_eq!(table.load().1, 0);
}
