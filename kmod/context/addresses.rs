// SPDX-License-Identifier: GPL-2.0

//! Which networks have an address, for lookups of the receiver of a packet: a map from addresses to the loopbacks of
//! networks. It is read under RCU, in softirq. Its writers hold the lock of a table with softirqs off, as a network may end in
//! softirq.

use crate::{
    linux::{Keyed, RcuTable, Room},
    policy::address::{Ip, Range, LOOPBACKS},
};
use core::cell::Cell;
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        rcu,
    },
};

/// Which loopbacks belong to a network: one bit each.
static IN_USE: [Atomic<u64>; LOOPBACKS / BITS] = [const { Atomic::new(0) }; LOOPBACKS / BITS];
const BITS: usize = u64::BITS as usize;

/// Takes the first free loopback. `EAGAIN`: all are in use.
pub(crate) fn take_loopback() -> Result<u16> {
    for (index, word) in IN_USE.iter().enumerate() {
        let mut bits = word.load(Relaxed);
        while bits != u64::MAX {
            let free = bits.trailing_ones();
            match word.cmpxchg(bits, bits | (1 << free), Full) {
                Ok(_) => return Ok((index * BITS) as u16 + free as u16),
                Err(now) => bits = now,
            }
        }
    }
    Err(EAGAIN)
}

/// Gives back what [`take_loopback`] took. Also from softirq.
pub(crate) fn give_loopback(loopback: u16) {
    let (index, bit) = (usize::from(loopback) / BITS, usize::from(loopback) % BITS);
    // The bit is set, so this clears it and no other.
    IN_USE[index].fetch_sub(1 << bit, Full);
}

/// Whether a loopback belongs to a network.
pub(crate) fn is_in_use(loopback: u16) -> bool {
    let (index, bit) = (usize::from(loopback) / BITS, usize::from(loopback) % BITS);
    IN_USE[index].load(Relaxed) & (1 << bit) != 0
}

/// Addresses of the networks with a loopback, in a network namespace.
struct Entry {
    key: u64,
    namespace: u64,
    range: Range,
    loopback: u16,
    /// How many networks with that loopback have it. Changed under the lock of its table.
    references: Atomic<u32>,
}

impl Entry {
    fn is(&self, namespace: u64, range: Range, loopback: u16) -> bool {
        self.namespace == namespace && self.range == range && self.loopback == loopback
    }
}

impl Keyed<1> for Entry {
    fn keys(&self) -> [u64; 1] {
        [self.key]
    }
}

/// Single addresses, each with the key of [`hash`].
static SINGLES: RcuTable<Entry, 1, 4096> = RcuTable::new();
/// All others, with one key: they are gone through.
static PREFIXES: RcuTable<Entry, 1, 2> = RcuTable::new();
const OF_PREFIXES: u64 = 0;

/// In module init, before there is a network.
pub(crate) fn init() {
    SINGLES.init(c"vserver_addresses");
    PREFIXES.init(c"vserver_prefixes");
}

fn hash(namespace: u64, address: u128) -> u64 {
    let mix = |word: u64| (word ^ (word >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mix(mix(namespace ^ (address >> 64) as u64) ^ address as u64)
}

/// Does something with the table that is for a range, and the key there.
macro_rules! with_table {
    ($namespace:expr, $range:expr, |$table:ident, $key:ident| $work:expr) => {
        match $range.parts() {
            (address, 128) => {
                let ($table, $key) = (&SINGLES, hash($namespace, address));
                $work
            }
            _ => {
                let ($table, $key) = (&PREFIXES, OF_PREFIXES);
                $work
            }
        }
    };
}

fn add<const SIZE: usize>(table: &RcuTable<Entry, 1, SIZE>, room: Room<Entry, 1>, entry: Entry) {
    let mut locked = table.lock_bh();
    let guard = rcu::read_lock();
    let known = table.find(&guard, 0, entry.key, |one| {
        one.is(entry.namespace, entry.range, entry.loopback)
    });
    match known {
        Some(one) => one
            .references
            .store(one.references.load(Relaxed) + 1, Relaxed),
        None => locked.add(room, entry),
    }
}

/// A network with that loopback has these addresses in that network namespace. `ENOMEM`.
pub(crate) fn map(namespace: u64, range: Range, loopback: u16) -> Result {
    let room = Room::new(GFP_KERNEL_ACCOUNT)?;
    with_table!(namespace, range, |table, key| add(
        table,
        room,
        Entry {
            key,
            namespace,
            range,
            loopback,
            references: Atomic::new(1),
        }
    ));
    Ok(())
}

/// Takes back one [`map`]. Also from softirq.
pub(crate) fn unmap(namespace: u64, range: Range, loopback: u16) {
    let is_last = |one: &Entry| {
        one.is(namespace, range, loopback) && {
            let left = one.references.load(Relaxed) - 1;
            one.references.store(left, Relaxed);
            left == 0
        }
    };
    with_table!(namespace, range, |table, key| table
        .lock_bh()
        .remove_if(0, key, is_last));
}

/// Calls `visit` with the loopbacks that have an address until it answers something.
pub(crate) fn find_loopback<T: Copy>(
    namespace: u64,
    address: Ip,
    guard: &rcu::Guard,
    visit: impl Fn(u16) -> Option<T>,
) -> Option<T> {
    let number = address.mapped();
    let found = Cell::new(None);
    let is_it = |one: &Entry| {
        one.namespace == namespace && one.range.contains(number) && {
            found.set(visit(one.loopback));
            found.get().is_some()
        }
    };
    if SINGLES
        .find(guard, 0, hash(namespace, number), is_it)
        .is_none()
    {
        PREFIXES.find(guard, 0, OF_PREFIXES, is_it);
    }
    found.get()
}

/// Whether some network has an address, in its loopback or as one of the host's.
pub(crate) fn is_taken(namespace: u64, address: Ip) -> bool {
    address.loopback().is_some_and(is_in_use)
        || find_loopback(namespace, address, &rcu::read_lock(), Some).is_some()
}
