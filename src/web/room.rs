//! Who is connected. Who comes gets in: where there is no room somebody else goes, of the address that holds the most places. Of its connections
//! that is one that has asked for nothing yet, and then the one that asked longest ago. So nobody who is silent, slow or many keeps others out.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Places for connections, and for those of them that follow something.
pub struct Room {
    places: usize,
    streams: usize,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    /// Counts who comes and what is asked.
    turn: u64,
    taken: BTreeMap<u64, Seat>,
}

struct Seat {
    from: IpAddr,
    has_asked: bool,
    /// When it came, or asked last.
    turn: u64,
    follows: bool,
    /// Dropped, it ends the connection.
    _leave: oneshot::Sender<()>,
}

/// A connection that has a place until this is dropped, or until somebody else needs it.
pub struct Guest {
    room: Arc<Room>,
    id: u64,
}

/// The place of one that follows.
pub struct Following(Arc<Guest>);

impl Room {
    pub fn new(places: usize, streams: usize) -> Arc<Self> {
        Arc::new(Self { places, streams, seats: Mutex::default() })
    }

    /// A place, and what resolves when it is needed for somebody else.
    pub fn enter(self: &Arc<Self>, from: IpAddr) -> (Guest, oneshot::Receiver<()>) {
        let mut seats = self.seats();
        while !seats.taken.is_empty() && seats.taken.len() >= self.places {
            seats.free(|_| true);
        }
        let id = seats.next_turn();
        let (leave, left) = oneshot::channel();
        let seat = Seat { from: network(from), has_asked: false, turn: id, follows: false, _leave: leave };
        seats.taken.insert(id, seat);
        (Guest { room: self.clone(), id }, left)
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// How many of these each address has.
    fn count(&self, which: impl Fn(&Seat) -> bool) -> HashMap<IpAddr, usize> {
        let mut counts = HashMap::new();
        self.taken.values().filter(|seat| which(seat)).for_each(|seat| *counts.entry(seat.from).or_default() += 1);
        counts
    }

    /// Ends one of these, of the address that has the most of them.
    fn free(&mut self, which: impl Fn(&Seat) -> bool) {
        let counts = self.count(&which);
        let most = counts.values().max().copied();
        let others = self.taken.iter().filter(|(_, seat)| which(seat) && counts.get(&seat.from).copied() == most);
        if let Some(id) = others.min_by_key(|(_, seat)| (seat.has_asked, seat.turn)).map(|(id, _)| *id) {
            self.taken.remove(&id);
        }
    }
}

impl Guest {
    /// A whole request has come.
    pub fn asks(&self) {
        let mut seats = self.room.seats();
        let turn = seats.next_turn();
        if let Some(seat) = seats.taken.get_mut(&self.id) {
            (seat.has_asked, seat.turn) = (true, turn);
        }
    }

    /// A place to follow something; none where all are taken, and no other address has more of them.
    pub fn follow(self: &Arc<Self>) -> Option<Following> {
        let mut seats = self.room.seats();
        let from = seats.taken.get(&self.id)?.from;
        let counts = seats.count(|seat| seat.follows);
        if counts.values().sum::<usize>() >= self.room.streams {
            let own = counts.get(&from).copied().unwrap_or(0);
            counts.values().find(|count| **count > own)?;
            seats.free(|seat| seat.follows);
        }
        seats.taken.get_mut(&self.id)?.follows = true;
        Some(Following(self.clone()))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.room.seats().taken.remove(&self.id);
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(seat) = self.0.room.seats().taken.get_mut(&self.0.id) {
            seat.follows = false;
        }
    }
}

/// What counts as one address: of IPv6 a network of 64 bits, all of which a single machine may use.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn who_comes_gets_in_and_who_holds_most_gives_way() {
        let room = Room::new(4, 2);
        let (first, mut first_left) = room.enter(address(1));
        first.asks();
        let mut many: Vec<_> = (0..20).map(|_| room.enter(address(2))).collect();
        assert!(first_left.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        let here = many.iter_mut().map(|(_, left)| left.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        assert_eq!(here.collect::<Vec<_>>(), [vec![false; 17], vec![true; 3]].concat());
        // Of one address, who has asked stays longer than who has not.
        many[18].0.asks();
        let (_other, _) = room.enter(address(3));
        let (_another, _) = room.enter(address(4));
        let here = many.iter_mut().map(|(_, left)| left.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        assert_eq!(here.collect::<Vec<_>>()[17..], [false, true, false]);
    }

    #[test]
    fn one_address_does_not_follow_for_all() {
        let room = Room::new(9, 2);
        let enter = |last| {
            let (guest, left) = room.enter(address(last));
            (Arc::new(guest), left)
        };
        let greedy = [enter(1), enter(1), enter(1)];
        let followed: Vec<_> = greedy.iter().map(|(guest, _)| guest.follow()).collect();
        assert_eq!(followed.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
        let (other, _left) = enter(2);
        let place = other.follow();
        assert!(place.is_some(), "the greedy one has more");
        assert!(enter(3).0.follow().is_some_and(|_| true), "{:?}", room.seats().count(|seat| seat.follows));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:3"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
