// SPDX-License-Identifier: GPL-2.0

//! The network of a process: its context's number and, when it is confined to addresses, these and
//! a loopback of its own. One of the files that may contain `unsafe`: sockets (`net_*.c`) and tasks
//! (`task.rs`) hold networks by pointers.
//!
//! # Lifetime
//!
//! A network is immutable, but for what is said once, and counted. Contexts, tasks and sockets hold references. The last one
//! that goes takes it out of the map of addresses; the memory goes an RCU grace period later, so that
//! packets under way may still look at it. As long as it has references, a network holds one to the module.

use crate::{
    ffi,
    policy::address::{self, Ip, Range, Set, Way},
    uapi::{self, CONTEXT_ROOT}, //
};
use core::{
    ffi::{c_int, c_void},
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::{
        aref::{ARef, AlwaysRefCounted},
        atomic::{Atomic, Full, Relaxed},
        Arc, //
    },
};

mod c {
    use super::*;

    extern "C" {
        pub(super) fn vserver_map_add(
            ns: u64,
            address: *const [u8; 16],
            prefix: u8,
            lo: u16,
        ) -> c_int;
        pub(super) fn vserver_map_del(ns: u64, address: *const [u8; 16], prefix: u8, lo: u16);
        pub(super) fn vserver_loopback_take() -> c_int;
        pub(super) fn vserver_loopback_give(loopback: c_int);
        pub(super) fn vserver_net_namespace() -> u64;
        pub(super) fn vserver_net_is_namespace(net: *const c_void, ns: u64) -> bool;
        pub(super) fn vserver_ops_free(ops: *mut c_void);
        pub(super) fn vserver_random() -> u64;
    }
}

/// The number of a loopback, free again when the last network with it goes.
struct Loopback(u16);

impl Loopback {
    /// `EAGAIN`: all are in use.
    fn take() -> Result<Self> {
        // SAFETY: No preconditions.
        let number = unsafe { c::vserver_loopback_take() };
        if number == ENOSPC.to_errno() {
            return Err(EAGAIN);
        }
        to_result(number.min(0))?;
        Ok(Self(number as u16))
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        // SAFETY: From `vserver_loopback_take`, and given back once.
        unsafe { c::vserver_loopback_give(self.0.into()) }
    }
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
            loopback: self.loopback.0,
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
            let (first, prefix) = range.parts();
            // SAFETY: Was added, by this network.
            unsafe { c::vserver_map_del(self.ns, &first.to_be_bytes(), prefix, self.loopback.0) }
        }
    }

    fn map(&self) -> Result {
        for (count, range) in self.ranges.iter().enumerate() {
            let (first, prefix) = range.parts();
            // SAFETY: The address is read during the call.
            let error = to_result(unsafe {
                c::vserver_map_add(self.ns, &first.to_be_bytes(), prefix, self.loopback.0)
            });
            if error.is_err() {
                self.unmap(count);
                return error;
            }
        }
        Ok(())
    }
}

/// A network; see the file.
#[repr(C)]
pub(crate) struct Network {
    /// First: what RCU gives back is a pointer to it.
    rcu: bindings::callback_head,
    references: Atomic<i32>,
    context: Atomic<i32>,
    /// What abstract Unix names of the context begin with outside.
    tag: u64,
    /// The operations of its sockets: a list of `struct vserver_ops`, for `net_sockets.c`.
    ops: Atomic<*mut c_void>,
    confined: Option<Confined>,
}

// SAFETY: Immutable but for atomics; freed when nobody can reach it.
unsafe impl Send for Network {}
// SAFETY: As above.
unsafe impl Sync for Network {}

// SAFETY: The count is the number of references; the memory stays while it is not zero.
unsafe impl AlwaysRefCounted for Network {
    fn inc_ref(&self) {
        self.references.add(1, Relaxed);
    }

    unsafe fn dec_ref(object: NonNull<Self>) {
        // SAFETY: The caller owns a reference, so the object is alive.
        let this = unsafe { object.as_ref() };
        if this.references.fetch_sub(1, Full) != 1 {
            return;
        }
        if let Some(confined) = &this.confined {
            confined.unmap(confined.ranges.len());
        }
        if !this.is_of_host() {
            ALIVE.fetch_sub(1, Relaxed);
        }
        // SAFETY: The last reference is gone, so nobody queues it a second time; it begins with the
        // head, and from `KBox::into_raw` is what `free` wants.
        unsafe { bindings::call_rcu(object.as_ptr().cast(), Some(free)) }
        // Now, not in `free`: module exit waits for that, and for whoever is here.
        ffi::module_put();
    }
}

/// # Safety
///
/// For `call_rcu`, with the head of a network that has no reference any more.
unsafe extern "C" fn free(head: *mut bindings::callback_head) {
    // SAFETY: The head is the first field of a network from `KBox::into_raw`, and a grace period
    // has passed since its last reference went.
    let network = unsafe { KBox::from_raw(head.cast::<Network>()) };
    // SAFETY: No socket is left that has them.
    unsafe { c::vserver_ops_free(network.ops.load(Relaxed)) };
    drop(network);
}

/// How many there are, but for those of the host as a whole.
static ALIVE: Atomic<i32> = Atomic::new(0);

impl Network {
    /// Whether anybody has one.
    pub(crate) fn any() -> bool {
        ALIVE.load(Relaxed) != 0
    }

    /// One that the host as a whole has, for its sockets that list sockets.
    pub(crate) fn of_host() -> Result<ARef<Self>> {
        Self::new(CONTEXT_ROOT, 0, None)
    }

    fn is_of_host(&self) -> bool {
        self.confined.is_none() && self.context() == CONTEXT_ROOT
    }

    fn new(context: i32, tag: u64, confined: Option<Confined>) -> Result<ARef<Self>> {
        let network = KBox::new(
            Self {
                rcu: bindings::callback_head::default(),
                references: Atomic::new(1),
                context: Atomic::new(context),
                tag,
                ops: Atomic::new(core::ptr::null_mut()),
                confined,
            },
            GFP_KERNEL,
        )?;
        if let Some(confined) = &network.confined {
            confined.map()?;
        }
        ffi::module_get();
        if !network.is_of_host() {
            ALIVE.add(1, Relaxed);
        }
        let raw = NonNull::from(KBox::leak(network));
        // SAFETY: The one reference that it was made with.
        Ok(unsafe { ARef::from_raw(raw) })
    }

    /// The network of a new context that is made by a process with the network `from`: as confined
    /// as that, with a loopback and names of its own. It gets its number with the context.
    pub(crate) fn of_new_context(from: Option<&Self>) -> Result<ARef<Self>> {
        let confined = match from.and_then(|from| from.confined.as_ref()) {
            Some(confined) => Some(confined.copy(Arc::new(Loopback::take()?, GFP_KERNEL)?)?),
            None => None,
        };
        // SAFETY: No preconditions.
        Self::new(-1, unsafe { c::vserver_random() }, confined)
    }

    /// For the context, before anybody else knows the network.
    pub(crate) fn set_context(&self, number: i32) {
        self.context.store(number, Relaxed);
    }

    /// Its context's number, -1 as long as that has none.
    pub(crate) fn context(&self) -> i32 {
        self.context.load(Relaxed)
    }

    /// The network of a process that joins a context: the context's; of one that is confined where
    /// the context is not, its own addresses.
    pub(crate) fn of_joining(context: &ARef<Self>, from: Option<&Self>) -> Result<ARef<Self>> {
        match from.and_then(|from| from.confined.as_ref()) {
            Some(own) if context.confined.is_none() => Self::new(
                context.context(),
                context.tag,
                Some(own.copy(own.loopback.clone())?),
            ),
            _ => Ok(context.clone()),
        }
    }

    /// The network of the caller once it is confined to `told`. `EPERM`: it is already, to others.
    /// `admin`: root in context 0, for whom that does not matter.
    pub(crate) fn confined(
        from: Option<&Self>,
        admin: bool,
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
            _ => Arc::new(Loopback::take()?, GFP_KERNEL)?,
        };
        let ns = match before {
            Some(before) if !admin => before.ns,
            // SAFETY: Looks at the caller only.
            _ => unsafe { c::vserver_net_namespace() },
        };
        Self::new(
            from.map_or(CONTEXT_ROOT, Self::context),
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

    /// Whether it is confined to addresses, in this network namespace.
    ///
    /// # Safety
    ///
    /// `net` must be a network namespace.
    pub(crate) unsafe fn confines(&self, net: *const c_void) -> bool {
        self.confined.as_ref().is_some_and(|confined| {
            // SAFETY: By contract.
            unsafe { c::vserver_net_is_namespace(net, confined.ns) }
        })
    }

    /// What abstract names of its context begin with outside.
    pub(crate) fn tag(&self) -> u64 {
        self.tag
    }

    /// The place of the list of operations, which is `net_sockets.c`'s.
    pub(crate) fn ops(&self) -> *mut *mut c_void {
        self.ops.as_ptr()
    }

    /// A new reference to a network found under RCU; `None` when it is on its way out.
    ///
    /// # Safety
    ///
    /// `raw` must be a network, and its memory stay until the call returns.
    pub(crate) unsafe fn try_get(raw: NonNull<Self>) -> Option<ARef<Self>> {
        // SAFETY: By contract.
        let this = unsafe { raw.as_ref() };
        let mut count = this.references.load(Relaxed);
        while count != 0 {
            match this.references.cmpxchg(count, count + 1, Full) {
                // SAFETY: The count that was just added is ours.
                Ok(_) => return Some(unsafe { ARef::from_raw(raw) }),
                Err(now) => count = now,
            }
        }
        None
    }
}
