//! How many slow hashes are computed at once, how many wait for their turn, and how many of these are one client's:
//! whoever floods the door with guesses takes a part of the places, and no more.

use std::{
    net::IpAddr,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use security_web::client_network;

/// At once; each may take 256 MiB and a whole core.
const AT_ONCE: usize = 2;
/// Waiting; the next one is turned away.
const WAITING: usize = 16;
/// Of one client, at once and waiting together: enough for the threads of a server that starts, and a third of the places
/// is left to others. Of who gives no client's address, any number.
const OF_ONE: usize = 12;
/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lets a few in at a time.
#[derive(Debug, Default)]
pub(in crate::credentials) struct Turnstile {
    counts: Mutex<Counts>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    inside: usize,
    waiting: usize,
    /// The clients of those inside and waiting.
    clients: Vec<IpNet>,
}

/// A place inside, until it is dropped.
pub(super) struct Place<'t>(&'t Turnstile, Option<IpNet>);

impl Turnstile {
    /// A place for a client; `None` when too many wait, when it has enough, or when none became free in time.
    pub(super) fn enter(&self, client: Option<IpAddr>) -> Option<Place<'_>> {
        let client = client.map(client_network);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = client {
            if counts.clients.iter().filter(|known| **known == client).count() >= OF_ONE {
                return None;
            }
            counts.clients.push(client);
        }
        if counts.inside >= AT_ONCE {
            if counts.waiting >= WAITING {
                counts.forget(client);
                return None;
            }
            counts.waiting += 1;
            let full = |counts: &mut Counts| counts.inside >= AT_ONCE;
            let (after, _) =
                self.left.wait_timeout_while(counts, PATIENCE, full).unwrap_or_else(PoisonError::into_inner);
            counts = after;
            counts.waiting -= 1;
            if counts.inside >= AT_ONCE {
                counts.forget(client);
                return None;
            }
        }
        counts.inside += 1;
        Some(Place(self, client))
    }
}

impl Counts {
    fn forget(&mut self, client: Option<IpNet>) {
        if let Some(at) = self.clients.iter().position(|known| Some(*known) == client) {
            self.clients.swap_remove(at);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.inside -= 1;
        counts.forget(self.1);
        drop(counts);
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn few_are_inside_and_some_wait() {
        let (turnstile, inside, most) = (Turnstile::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE + WAITING {
                scope.spawn(|| {
                    let place = turnstile.enter(None);
                    assert!(place.is_some());
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    inside.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!(most.into_inner() <= AT_ONCE);
    }

    #[test]
    fn whoever_comes_when_too_many_wait_is_turned_away_at_once() {
        let turnstile = Turnstile::default();
        turnstile.counts.lock().unwrap().inside = AT_ONCE;
        turnstile.counts.lock().unwrap().waiting = WAITING;
        assert!(turnstile.enter(None).is_none());
        assert!(turnstile.enter(Some(IpAddr::from([192, 0, 2, 1]))).is_none());
        let counts = turnstile.counts.lock().unwrap();
        assert_eq!((counts.waiting, counts.clients.len()), (WAITING, 0));
    }

    #[test]
    fn a_client_that_floods_it_takes_its_part_alone() {
        let turnstile = Turnstile::default();
        let [flooding, same, other] =
            ["2001:db8:1:2::1", "2001:db8:1:2::2", "192.0.2.1"].map(|ip| ip.parse().ok());
        let places: Vec<_> = (0..AT_ONCE).map(|_| turnstile.enter(flooding)).collect();
        turnstile
            .counts
            .lock()
            .unwrap()
            .clients
            .extend(vec![client_network(flooding.unwrap()); OF_ONE - AT_ONCE]);
        assert!(turnstile.enter(same).is_none(), "it has its part");
        drop(places);
        assert!(turnstile.enter(other).is_some() && turnstile.enter(None).is_some());
        let counts = turnstile.counts.lock().unwrap();
        assert_eq!((counts.inside, counts.waiting, counts.clients.len()), (0, 0, OF_ONE - AT_ONCE));
    }
}
