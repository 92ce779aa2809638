// SPDX-License-Identifier: GPL-2.0

//! The keyrings of users. The kernel keeps them for the machine; each context has its own here.

use super::{global_mutex, inc_not_zero, Cred, Key, Keyed, RcuTable, Room};
use core::ptr::NonNull;
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    prelude::*,
    sync::{aref::ARef, rcu},
};

/// A user of a user namespace in a context.
#[derive(Clone, Copy, PartialEq)]
struct Owner {
    tag: u64,
    user_ns: u64,
    user: u32,
}

impl Owner {
    fn new(tag: u64, cred: &Cred) -> Self {
        Self {
            tag,
            user_ns: cred.user_ns_number(),
            user: cred.user().val,
        }
    }
}

/// # Invariants
///
/// Each pointer owns a reference until the entry is taken out of the table. The kernel frees a key a
/// grace period after its last reference (security/keys/gc.c).
#[derive(Clone, Copy)]
struct Entry {
    owner: Owner,
    user: NonNull<Key>,
    session: NonNull<Key>,
}

// SAFETY: Two references to what any task may use.
unsafe impl Send for Entry {}
// SAFETY: As above.
unsafe impl Sync for Entry {}

impl Keyed<1> for Entry {
    fn keys(&self) -> [u64; 1] {
        [self.owner.tag]
    }
}

static TABLE: RcuTable<Entry, 1, 64> = RcuTable::new();

global_mutex! {
    /// Held while the table is changed.
    static CHANGING: () = (); init init_mutex
}

/// In module init, before the hooks are attached.
pub(crate) fn init_user_keyrings() {
    TABLE.init(c"vserver_user_keyrings");
    init_mutex();
}

impl Entry {
    fn find<'a>(owner: Owner, guard: &'a rcu::Guard) -> Option<&'a Self> {
        TABLE.find(guard, 0, owner.tag, |entry| entry.owner == owner)
    }

    /// Drops the references of an entry that has been taken out.
    fn put(self) {
        for key in [self.session, self.user] {
            // SAFETY: By the type's invariant.
            drop(unsafe { ARef::from_raw(key) });
        }
    }
}

/// References to a user's two keyrings.
pub(crate) struct UserKeyrings {
    pub(crate) user: ARef<Key>,
    pub(crate) session: ARef<Key>,
}

impl UserKeyrings {
    fn new(cred: &Cred) -> Result<Self> {
        let user = Key::keyring_of_user(c"_uid", cred)?;
        let session = Key::keyring_of_user(c"_uid_ses", cred)?;
        session.link(&user)?;
        Ok(Self { user, session })
    }

    /// `None` if one of them has been revoked.
    fn of(entry: &Entry) -> Option<Self> {
        // SAFETY: The entry is in the table, and the callers hold the mutex, so it keeps both.
        let (user, session) = unsafe { (entry.user.as_ref(), entry.session.as_ref()) };
        (user.is_valid() && session.is_valid()).then(|| Self {
            user: user.into(),
            session: session.into(),
        })
    }

    /// Those of a user in a context. Makes them if there are none. Sleeps.
    pub(crate) fn get(tag: u64, cred: &Cred) -> Result<Self> {
        let owner = Owner::new(tag, cred);
        let _changing = CHANGING.lock();
        let entry = Entry::find(owner, &rcu::read_lock()).copied();
        if let Some(found) = entry.as_ref().and_then(Self::of) {
            return Ok(found);
        }
        // Revoked keyrings are of no use.
        let revoked = TABLE.lock().pop_if(0, tag, |entry| entry.owner == owner);
        if let Some(entry) = revoked {
            entry.put();
        }
        let room = Room::new(GFP_KERNEL_ACCOUNT)?;
        let new = Self::new(cred)?;
        // INVARIANT: The references of clones.
        let entry = Entry {
            owner,
            user: ARef::into_raw(new.user.clone()),
            session: ARef::into_raw(new.session.clone()),
        };
        TABLE.lock().add(room, entry);
        Ok(new)
    }

    /// The session keyring of a user in a context, if it exists.
    pub(crate) fn find_session(tag: u64, cred: &Cred) -> Option<ARef<Key>> {
        let guard = rcu::read_lock();
        let entry = Entry::find(Owner::new(tag, cred), &guard)?;
        // SAFETY: By the type's invariant the key is there for a grace period more.
        let session = unsafe { entry.session.as_ref() };
        // SAFETY: The reference that has just been counted.
        inc_not_zero(session.usage()).then(|| unsafe { ARef::from_raw(entry.session) })
    }

    /// At the end of a context.
    pub(crate) fn forget(tag: u64) {
        let _changing = CHANGING.lock();
        loop {
            let entry = TABLE.lock().pop(0, tag);
            match entry {
                Some(entry) => entry.put(),
                None => break,
            }
        }
    }
}
