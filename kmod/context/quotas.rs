// SPDX-License-Identifier: GPL-2.0

//! What the kernel counts for each user, apart for each context: root is called so in all of them, and must not use up in
//! one what it has on the host or in another.
//!
//! The kernel has two tables for that. For a process in a context,
//! - counters by user namespace and user are those of the context's [`Account`] instead of its user namespace, below the
//!   counters of whoever made the context (none, when the host's root did): namespaces, inotify, fanotify, message queues,
//!   pending signals, locked memory, processes;
//! - `struct user_struct`, by user, is one of the context's own: epoll, pipes, descriptors in flight, pinned memory;
//! - `struct key_user`, by user, is that of another number: keys.
//!
//! The latter two have no hierarchy. So in a context that an unprivileged user has made, or that is nested, the user who
//! has made it is the same as outside.
//!
//! All is memory of the kernel's, and counted by it: nothing of it points to the module.

use crate::{
    linux::{self, global_mutex, Account, Ucounts, User},
    policy::limits,
};
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Arc, SpinLock,
    },
};

/// Who has made a context, where that is the same user inside as outside.
struct Maker {
    uid: u32,
    user: User,
    /// By which its keys are counted.
    keys: u32,
}

/// The users of a context.
struct Users {
    list: KVec<(u32, User)>,
    /// How many there may be before those that have gone are looked for.
    sweep_at: usize,
}

impl Users {
    fn find(&self, uid: u32) -> Option<User> {
        let (_, user) = self.list.iter().find(|(other, _)| *other == uid)?;
        Some(user.clone())
    }
}

/// The counters of a context.
#[pin_data]
pub(crate) struct Quotas {
    pub(crate) account: Account,
    maker: Option<Maker>,
    /// Makes the numbers by which keys are counted.
    seed: u64,
    /// Looked at under RCU, too.
    #[pin]
    users: SpinLock<Users>,
}

impl Quotas {
    /// For a context that the caller makes, `is_within` a context or not, whose users are counted `around`.
    pub(super) fn new(is_within: bool, around: Option<&Self>) -> Result<Pin<KBox<Self>>> {
        let apart = !is_within && linux::may_exceed_limits();
        let account = if apart {
            Account::apart()?
        } else {
            Account::below_caller()?
        };
        let maker = (!apart).then(|| Maker {
            uid: linux::own_uid(),
            user: User::of_caller(),
            keys: around.map_or(linux::own_uid(), |around| {
                around.number_for_keys(linux::own_uid())
            }),
        });
        KBox::pin_init(
            pin_init!(Self {
                account,
                maker,
                seed: linux::random_u64(),
                users <- new_spinlock!(Users { list: KVec::new(), sweep_at: 64 }),
            }),
            GFP_KERNEL,
        )
    }

    /// The number by which the keys of a user are counted: one of those that hardly anybody has as a user, and that
    /// nobody foresees. It is not kept, so that there is nothing to be filled by who takes all numbers one by one.
    pub(crate) fn number_for_keys(&self, uid: u32) -> u32 {
        match self.maker.as_ref().filter(|maker| maker.uid == uid) {
            Some(maker) => maker.keys,
            None => 1 << 31 | ((self.seed ^ u64::from(uid)).wrapping_mul(MIX) >> 33) as u32,
        }
    }

    /// The user of this number in the context, if there is one already. Callable in atomic context.
    pub(crate) fn known_user(&self, uid: u32) -> Option<User> {
        match self.maker.as_ref().filter(|maker| maker.uid == uid) {
            Some(maker) => Some(maker.user.clone()),
            None => self.users.lock().find(uid),
        }
    }

    /// The user of this number in the context.
    pub(crate) fn user(&self, uid: u32) -> Result<User> {
        if let Some(user) = self.known_user(uid) {
            return Ok(user);
        }
        let user = User::apart(uid)?;
        let mut users = self.users.lock();
        if let Some(other) = users.find(uid) {
            return Ok(other);
        }
        if users.list.len() >= users.sweep_at {
            users.list.retain(|(_, user)| user.is_used());
            users.sweep_at = users.list.len() * 2 + 64;
        }
        users.list.push((uid, user.clone()), GFP_ATOMIC)?;
        Ok(user)
    }

    /// What counts for the caller once it is in the context; `None`: what counts already.
    pub(crate) fn of_entering(&self) -> Result<Option<(Ucounts, User)>> {
        if !self.account.stands_for(linux::own_user_ns()) {
            return Ok(None);
        }
        let uid = linux::own_uid();
        Ok(Some((self.account.of_user(uid)?, self.user(uid)?)))
    }
}

/// Odd, with as many ones as zeros: the golden ratio's, as in the kernel's `hash_64`.
const MIX: u64 = 0x61c8_8646_80b5_83eb;

/// How many contexts and loopback blocks there are because of a user, or within a context.
pub(crate) struct Counter {
    count: Atomic<u32>,
    around: Option<Arc<Counter>>,
}

impl Counter {
    pub(crate) fn new(around: Option<Arc<Counter>>) -> Result<Arc<Self>> {
        let counter = Self {
            count: Atomic::new(0),
            around,
        };
        Ok(Arc::new(counter, GFP_KERNEL)?)
    }

    fn add(&self) -> bool {
        let mut old = self.count.load(Relaxed);
        while limits::may_add(old.into(), Some(linux::max_contexts_per_user().into())) {
            match self.count.cmpxchg(old, old + 1, Full) {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
        false
    }

    /// Takes one away, here and around, but for `end` and what is around that.
    fn remove_until(&self, end: Option<&Self>) {
        let mut each = Some(self);
        while let Some(one) = each.filter(|one| !end.is_some_and(|end| core::ptr::eq(*one, end))) {
            one.count.fetch_sub(1, Full);
            each = one.around.as_deref();
        }
    }
}

global_mutex! {
    /// Of the unprivileged users of the host that have any.
    static USERS: KVec<(u32, Arc<Counter>)> = KVec::new(); init init_users
}

/// One context, or loopback block, as long as it is there. Dropped in any context.
pub(crate) struct Charge(Option<Arc<Counter>>);

impl Charge {
    /// Not counted.
    pub(crate) const NONE: Self = Self(None);

    /// For the caller, `within` a context with that counter or in none; not for the host's root. `EAGAIN`: it has as many as
    /// it may have.
    pub(crate) fn new(within: Option<&Arc<Counter>>) -> Result<Self> {
        if let Some(within) = within {
            return Self::to(within.clone());
        }
        if linux::may_exceed_limits() || linux::is_admin() {
            return Ok(Self::NONE);
        }
        let uid = linux::own_uid();
        // The lock keeps the counter from being found unused before it is charged.
        let mut users = USERS.lock();
        if let Some((_, counter)) = users.iter().find(|(other, _)| *other == uid) {
            return Self::to(counter.clone());
        }
        users.retain(|(_, counter)| counter.count.load(Relaxed) != 0);
        let counter = Counter::new(None)?;
        users.push((uid, counter.clone()), GFP_KERNEL)?;
        Self::to(counter)
    }

    fn to(counter: Arc<Counter>) -> Result<Self> {
        let mut each = Some(&*counter);
        while let Some(one) = each {
            if !one.add() {
                counter.remove_until(Some(one));
                return Err(EAGAIN);
            }
            each = one.around.as_deref();
        }
        Ok(Self(Some(counter)))
    }

    /// A counter of what is within what is charged.
    pub(crate) fn counter_within(&self) -> Result<Arc<Counter>> {
        Counter::new(self.0.clone())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(counter) = &self.0 {
            counter.remove_until(None);
        }
    }
}

/// In module init, before there is a context.
pub(crate) fn init() -> Result {
    init_users();
    linux::open_accounts()
}

/// At module exit, when there is no context any more.
pub(crate) fn exit() {
    // With its memory, which a static does not give back.
    *USERS.lock() = KVec::new();
    linux::close_accounts();
}
