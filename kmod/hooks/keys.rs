// SPDX-License-Identifier: GPL-2.0

//! Keys: a key belongs to the context that it was made in, and does not exist for others. The kernel
//! keeps keys for the whole machine and only asks for the user, and each context has a user 0.
//!
//! The kernel finds the keyrings of a user by the user's number, so each context has its own
//! (`linux/user_keyrings.rs`). A process loses the keyrings of its session, process and threads when
//! it enters a context. So possession of a key (a keyring of the process leads to it) is proof
//! enough, also when the kernel searches its own keyrings, or starts a helper of the host for a key
//! that a process inside requests.
//!
//! The caches that the kernel fills in a caller's name for all callers (those of NFS, CIFS and DNS)
//! belong to the machine.

use super::pid::task_in_view;
use crate::{
    attach::hook::{hooks, unless},
    bindings::{cred, key, key_need_perm, seq_file},
    context::membership::with_own_network,
    linux::{
        fills_cache, init_user_keyrings, no_key, own_parent, Cred, Key, KeyPlace, KeyRef, Keyed,
        RcuTable, Room, UserKeyrings,
    },
    uapi::{CONTEXT_ROOT, CONTEXT_SPECTATOR},
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    ffi::{c_int, c_long, c_ulong, c_void},
    prelude::*,
    sync::rcu,
};

#[cfg(CONFIG_PERSISTENT_KEYRINGS)]
use crate::bindings::{key_serial_t, uid_t};

/// The owner of a key that was made in a context. Keys without an owner belong to the host.
#[derive(Clone, Copy)]
struct Owned {
    key: u64,
    tag: u64,
}

impl Keyed<1> for Owned {
    fn keys(&self) -> [u64; 1] {
        [self.key]
    }
}

static OWNED: RcuTable<Owned, 1, 256> = RcuTable::new();

/// In module init, before the hooks are attached.
pub(crate) fn init() {
    OWNED.init(c"vserver_keys");
    init_user_keyrings();
}

/// The tag of the caller's context. `None` for the host and the spectator.
fn own_tag() -> Option<u64> {
    let tag = with_own_network(|network| {
        network
            .filter(|network| ![CONTEXT_ROOT, CONTEXT_SPECTATOR].contains(&network.context()))
            .map(|network| network.tag())
    })?;
    (!fills_cache()).then_some(tag)
}

fn tag_of(key: u64) -> Option<u64> {
    OWNED
        .find(&rcu::read_lock(), 0, key, |_| true)
        .map(|owned| owned.tag)
}

fn allocate(key: &Key, tag: u64, original: impl FnOnce() -> c_int) -> c_int {
    let Ok(room) = Room::new(GFP_KERNEL_ACCOUNT) else {
        return ENOMEM.to_errno();
    };
    let error = original();
    if error == 0 {
        let key = key.address();
        OWNED.lock().add(room, Owned { key, tag });
    }
    error
}

/// As `look_up_user_keyrings`, but in the caller's context.
fn look_up(tag: u64, user: &KeyPlace, session: &KeyPlace) -> Result {
    let keyrings = UserKeyrings::get(tag, Cred::of_caller())?;
    user.put(keyrings.user);
    session.put(keyrings.session);
    Ok(())
}

hooks! {
    instead(original) fn security_key_alloc(key: &Key, cred: *const cred, flags: c_ulong) -> c_int {
        let tag = own_tag()?;
        Some(allocate(key, tag, || original(key.as_ptr(), cred, flags)))
    }

    mediate_anyone fn security_key_free(key: &Key) {
        OWNED.lock().remove(0, key.address());
        Ok(())
    }

    mediate_anyone fn key_task_permission(key: KeyRef, _cred: *const cred, _need: key_need_perm) -> c_int {
        unless(
            !key.is_possessed() && !fills_cache() && tag_of(key.address()) != own_tag(),
            no_key(),
        )
    }

    instead(original) fn look_up_user_keyrings(user: KeyPlace, session: KeyPlace) -> c_int {
        let _ = original;
        let tag = own_tag()?;
        Some(look_up(tag, &user, &session).map_or_else(Error::to_errno, |()| 0))
    }

    /// It does not make the keyring.
    instead(original) fn get_user_session_keyring_rcu(cred: &Cred) -> *mut key {
        let _ = original;
        let tag = own_tag()?;
        Some(Key::into_raw(UserKeyrings::find_session(tag, cred)))
    }

    /// The parent may be the host's.
    mediate_anyone fn keyctl_session_to_parent() -> c_long {
        let guard = rcu::read_lock();
        unless(!task_in_view(own_parent(&guard)), EPERM)
    }

    /// A process inside never starts the host's helper: its request gets a negative key at once.
    instead(original) fn call_sbin_request_key(authorization: &Key, _data: *mut c_void) -> c_int {
        let _ = original;
        own_tag()?;
        authorization.refuse_request(no_key());
        Some(no_key().to_errno())
    }

    /// Persistent keyrings would outlive the context. Kerberos knows kernels without them, and takes
    /// the keyring of the user.
    #[cfg(CONFIG_PERSISTENT_KEYRINGS)]
    mediate fn keyctl_get_persistent(_user: uid_t, _destination: key_serial_t) -> c_long {
        unless(own_tag().is_some(), EOPNOTSUPP)
    }

    /// It tells how many keys each user of the machine has.
    instead(original) fn proc_key_users_show(_list: *mut seq_file, _user: *mut c_void) -> c_int {
        let _ = original;
        own_tag().map(|_| 0)
    }
}

/// At the end of a context. Sleeps.
pub(crate) fn forget(tag: u64) {
    UserKeyrings::forget(tag);
}

/// At module exit, when no context and no hook is left: the remaining keys have no owner.
pub(crate) fn end() {
    OWNED.lock().clear();
}
