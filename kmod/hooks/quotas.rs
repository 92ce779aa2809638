// SPDX-License-Identifier: GPL-2.0

//! What the kernel counts for each user is counted for the users of the caller's context: see `context/quotas.rs`.

use crate::{
    attach::hook::hooks,
    bindings::{self, key_user, kuid_t, ucount_type, ucounts, user_namespace, user_struct},
    context::{membership, quotas::Quotas, registry},
    linux::User,
};
use kernel::sync::rcu;

fn of_caller<T>(ask: impl FnOnce(&Quotas) -> T) -> Option<T> {
    let context = membership::own_context()?;
    context.quotas().map(ask)
}

/// The number by which keys of a user are counted for the caller.
fn number_for_keys(uid: u32) -> u32 {
    of_caller(|quotas| quotas.number_for_keys(uid)).unwrap_or(uid)
}

fn account_of(ns: *mut user_namespace) -> *mut user_namespace {
    of_caller(|quotas| {
        quotas
            .account
            .stands_for(ns)
            .then(|| quotas.account.as_ptr())
    })
    .flatten()
    .unwrap_or(ns)
}

/// The user of this number in the first context that has one.
fn user_of_any(uid: u32) -> Option<User> {
    let guard = rcu::read_lock();
    registry::find_map(&guard, |context| context.quotas()?.known_user(uid))
}

/// Counted for an inotify or fanotify group, whose counters are given.
fn is_of_group(kind: ucount_type) -> bool {
    #[cfg(CONFIG_INOTIFY_USER)]
    if kind == bindings::ucount_type_UCOUNT_INOTIFY_WATCHES {
        return true;
    }
    #[cfg(CONFIG_FANOTIFY)]
    if kind == bindings::ucount_type_UCOUNT_FANOTIFY_MARKS {
        return true;
    }
    false
}

hooks! {
    /// The counters of credentials.
    redirect fn alloc_ucounts(ns: *mut user_namespace, _uid: kuid_t) -> *mut ucounts {
        account_of(ns)
    }

    /// One more of what is counted without credentials. What takes it away has kept the counters.
    redirect fn inc_ucount(ns: *mut user_namespace, _uid: kuid_t, kind: ucount_type) -> *mut ucounts {
        of_caller(|quotas| quotas.account.renew_limit(kind));
        if is_of_group(kind) { ns } else { account_of(ns) }
    }

    /// The user of a key.
    redirect fn key_user_lookup(uid: kuid_t) -> *mut key_user {
        kuid_t { val: number_for_keys(uid.val) }
    }

    /// The user of credentials.
    answer fn alloc_uid(uid: kuid_t) -> *mut user_struct {
        if User::is_being_made() {
            None
        } else {
            of_caller(|quotas| quotas.user(uid.val).map_or(core::ptr::null_mut(), User::into_raw))
        }
    }

    /// For PRIO_USER and the like, which need nothing but its number of it. The spectator's processes in view are of
    /// all contexts.
    answer fn find_user(uid: kuid_t) -> *mut user_struct {
        if membership::is_spectator() {
            return user_of_any(uid.val).map(User::into_raw);
        }
        of_caller(|quotas| {
            quotas.known_user(uid.val).map_or(core::ptr::null_mut(), User::into_raw)
        })
    }
}
