// SPDX-License-Identifier: GPL-2.0

//! The network of a process: its context's number and, when it is confined to addresses, these and
//! a loopback of its own.
//!
//! # Lifetime
//!
//! A network is immutable, but for what is said once, and counted. Contexts, tasks and sockets hold references. The last one
//! that goes takes it out of the map of addresses; the memory goes an RCU grace period later, so that
//! packets under way may still look at it. As long as it has references, a network holds one to the module.

use crate::{
    context::{
        addresses,
        quotas::{Charge, Counter},
    },
    linux::{self, Counted, RcuCounted},
    policy::address::{self, Ip, Names, Range, Set, Way},
    uapi::{self, CONTEXT_ROOT},
};
use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Atomic, Relaxed},
        Arc, //
    },
};

/// The number of a loopback, free again when the last network with it goes, and what is in it.
struct Loopback {
    number: u16,
    names: Names,
    _charge: Charge,
}

impl Loopback {
    /// `EAGAIN`: all are in use.
    fn take(charge: Charge) -> Result<Self> {
        Ok(Self {
            number: addresses::take_loopback()?,
            names: Names::new(),
            _charge: charge,
        })
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        addresses::give_loopback(self.number);
    }
}

/// The time by which the use of names is noted.
pub(crate) fn seconds() -> u32 {
    (linux::boottime_ns() / 1_000_000_000) as u32
}

/// What a confined network has.
struct Confined {
    ranges: KVec<Range>,
    /// What the ABI was told, for who asks.
    told: KVec<uapi::Address>,
    broadcast: u32,
    loopback: Arc<Loopback>,
    /// The network namespace that it is about, by cookie: others made inside are nobody's business.
    ns: u64,
}

impl Confined {
    fn set(&self) -> Set<'_> {
        Set {
            ranges: &self.ranges,
            broadcast: self.broadcast,
            loopback: self.loopback.number,
            names: &self.loopback.names,
        }
    }

    fn copy(&self, loopback: Arc<Loopback>) -> Result<Self> {
        let mut ranges = KVec::with_capacity(self.ranges.len(), GFP_KERNEL)?;
        ranges.extend_from_slice(&self.ranges, GFP_KERNEL)?;
        let mut told = KVec::with_capacity(self.told.len(), GFP_KERNEL)?;
        told.extend_from_slice(&self.told, GFP_KERNEL)?;
        Ok(Self {
            ranges,
            told,
            broadcast: self.broadcast,
            loopback,
            ns: self.ns,
        })
    }

    /// Puts the first `count` ranges in the map of addresses, or takes them out.
    fn unmap(&self, count: usize) {
        for range in &self.ranges[..count] {
            addresses::unmap(self.ns, *range, self.loopback.number);
        }
    }

    fn map(&self) -> Result {
        for (count, range) in self.ranges.iter().enumerate() {
            addresses::map(self.ns, *range, self.loopback.number)
                .inspect_err(|_| self.unmap(count))?;
        }
        Ok(())
    }
}

/// A network; see the file.
pub(crate) type Network = RcuCounted<Parts>;

/// What a network is, but for the count of its references.
pub(crate) struct Parts {
    context: Atomic<i32>,
    /// What abstract Unix names of the context begin with outside.
    tag: u64,
    confined: Option<Confined>,
}

impl Parts {
    /// Its context's number, -1 as long as that has none.
    #[inline]
    pub(crate) fn context(&self) -> i32 {
        linux::peek(&self.context)
    }

    /// What abstract names of its context begin with outside.
    pub(crate) fn tag(&self) -> u64 {
        self.tag
    }

    fn is_of_host(&self) -> bool {
        self.confined.is_none() && self.context() == CONTEXT_ROOT
    }
}

impl Counted for Parts {
    fn over(&self) {
        if let Some(confined) = &self.confined {
            confined.unmap(confined.ranges.len());
        }
        if !self.is_of_host() {
            ALIVE.fetch_sub(1, Relaxed);
        }
        // Now, not when the memory goes: module exit waits for that, and for whoever is here.
        linux::module_put();
    }
}

/// How many there are, but for those of the host as a whole.
static ALIVE: Atomic<i32> = Atomic::new(0);

impl Network {
    /// Whether anybody has one.
    #[inline(always)]
    pub(crate) fn any() -> bool {
        linux::peek(&ALIVE) != 0
    }

    /// One that the host as a whole has, for its sockets that list sockets.
    pub(crate) fn of_host() -> Result<ARef<Self>> {
        Self::new_of(CONTEXT_ROOT, 0, None)
    }

    fn new_of(context: i32, tag: u64, confined: Option<Confined>) -> Result<ARef<Self>> {
        let parts = Parts {
            context: Atomic::new(context),
            tag,
            confined,
        };
        Self::new(parts, |network| {
            if let Some(confined) = &network.confined {
                confined.map()?;
            }
            linux::module_get();
            if !network.is_of_host() {
                ALIVE.add(1, Relaxed);
            }
            Ok(())
        })
    }

    /// The network of a new context that is made by a process with the network `from`: as confined
    /// as that, with a loopback and names of its own. It gets its number with the context.
    pub(crate) fn of_new_context(from: Option<&Self>) -> Result<ARef<Self>> {
        let confined = match from.and_then(|from| from.confined.as_ref()) {
            // The context is charged already.
            Some(confined) => {
                Some(confined.copy(Arc::new(Loopback::take(Charge::NONE)?, GFP_KERNEL)?)?)
            }
            None => None,
        };
        Self::new_of(-1, linux::random_u64(), confined)
    }

    /// For the context, before anybody else knows the network.
    pub(crate) fn set_context(&self, number: i32) {
        self.context.store(number, Relaxed);
    }

    /// The network of a process that joins a context: the context's; of one that is confined where
    /// the context is not, its own addresses.
    pub(crate) fn of_joining(context: &ARef<Self>, from: Option<&Self>) -> Result<ARef<Self>> {
        match from.and_then(|from| from.confined.as_ref()) {
            Some(own) if context.confined.is_none() => Self::new_of(
                context.context(),
                context.tag,
                Some(own.copy(own.loopback.clone())?),
            ),
            _ => Ok(context.clone()),
        }
    }

    /// The network of the caller once it is confined to `told`. `EPERM`: it is already, to others.
    /// `admin`: root in context 0, for whom that does not matter. `within`: by which is counted what the caller's context has.
    pub(crate) fn confined(
        from: Option<&Self>,
        admin: bool,
        within: Option<&Arc<Counter>>,
        told: KVec<uapi::Address>,
        broadcast: u32,
    ) -> Result<ARef<Self>> {
        let mut ranges = KVec::with_capacity(told.len(), GFP_KERNEL)?;
        for address in told.iter() {
            ranges.push(Range::new(address).ok_or(EINVAL)?, GFP_KERNEL)?;
        }
        address::sort(&mut ranges);
        let before = from.and_then(|from| from.confined.as_ref());
        let loopback = match before {
            Some(before) if !admin => {
                if !before.set().covers(&ranges, broadcast) {
                    return Err(EPERM);
                }
                before.loopback.clone()
            }
            _ => Arc::new(Loopback::take(Charge::new(within)?)?, GFP_KERNEL)?,
        };
        let ns = match before {
            Some(before) if !admin => before.ns,
            _ => linux::own_namespace(),
        };
        Self::new_of(
            from.map_or(CONTEXT_ROOT, |from| from.context()),
            from.map_or(0, |from| from.tag),
            Some(Confined {
                ranges,
                told,
                broadcast,
                loopback,
                ns,
            }),
        )
    }

    /// Whether it is confined to addresses.
    pub(crate) fn is_confined(&self) -> bool {
        self.confined.is_some()
    }

    /// The addresses that it is confined to.
    pub(crate) fn addresses(&self) -> &[uapi::Address] {
        self.confined
            .as_ref()
            .map_or(&[], |confined| &confined.told)
    }

    /// The broadcast address, zero for none.
    pub(crate) fn broadcast(&self) -> u32 {
        self.confined
            .as_ref()
            .map_or(0, |confined| confined.broadcast)
    }

    /// What 127.0.0.1 inside is outside, zero when it is that.
    pub(crate) fn loopback(&self) -> u32 {
        match self.set().map(|set| set.dest_v4(0x7f00_0001)) {
            Some(Ok(Way {
                dest: Ip::V4(address),
                ..
            })) => address,
            _ => 0,
        }
    }

    /// The addresses, for decisions about them.
    pub(crate) fn set(&self) -> Option<Set<'_>> {
        self.confined.as_ref().map(Confined::set)
    }

    /// Gives an address of 127.0.0.0/8 inside one of the loopback. `ENOBUFS`: all are in use. Sleeps.
    pub(crate) fn name(&self, address: u32) -> Result {
        let confined = self.confined.as_ref().ok_or(ENOBUFS)?;
        let (set, now) = (confined.set(), seconds());
        let _naming = linux::lock_names();
        if set.names.name(address, now) {
            return Ok(());
        }
        // Otherwise others than those of the caller's namespace would have to be gone through.
        if linux::own_namespace() != confined.ns {
            return Err(ENOBUFS);
        }
        let mut in_use = [false; 256];
        linux::each_local_address(|ip| {
            if set.is_own_v4(ip) {
                if let Ip::V4(address) = ip {
                    in_use[(address & 0xff) as usize] = true;
                }
            }
        });
        set.names.free(now, |last| in_use[usize::from(last)]);
        if set.names.name(address, now) {
            Ok(())
        } else {
            Err(ENOBUFS)
        }
    }

    /// Whether it is confined to addresses, in the network namespace with this number.
    pub(crate) fn confines(&self, namespace: u64) -> bool {
        self.confined
            .as_ref()
            .is_some_and(|confined| confined.ns == namespace)
    }
}
