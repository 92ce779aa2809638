// SPDX-License-Identifier: GPL-2.0

//! Sets of namespaces, and those that a context has for itself: host and domain names (UTS), and IPC (System V and POSIX
//! message queues). They are the kernel's own, so no call of IPC meets a hook.
//!
//! C headers: `include/linux/{nsproxy,utsname,ipc_namespace}.h`.

use super::current_raw;
use crate::bindings;
use core::ptr::NonNull;
use kernel::{error::from_err_ptr, prelude::*};

const NEW_UTS: u64 = bindings::CLONE_NEWUTS as u64;
const NEW_IPC: u64 = bindings::CLONE_NEWIPC as u64;

/// The caller's set. Only the caller replaces it.
fn own_set() -> *mut bindings::nsproxy {
    // SAFETY: The caller exists.
    unsafe { (*current_raw()).nsproxy }
}

/// A UTS namespace.
///
/// # Invariants
///
/// Holds a reference.
struct Names(NonNull<bindings::uts_namespace>);

impl Names {
    /// A reference to it, for one more set.
    fn get(&self) -> *mut bindings::uts_namespace {
        // SAFETY: Held, by the type's invariant.
        unsafe { bindings::vserver_inline_get_uts_ns(self.0.as_ptr()) };
        self.0.as_ptr()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // SAFETY: Gives up the reference that the type's invariant names.
        let was_last = unsafe { bindings::vserver_inline_uts_ref_put(self.0.as_ptr()) };
        if was_last {
            // SAFETY: That was the last one.
            unsafe { bindings::vserver_call_free_uts_ns(self.0.as_ptr()) }
        }
    }
}

/// An IPC namespace.
///
/// # Invariants
///
/// Holds a reference.
struct Ipc(NonNull<bindings::ipc_namespace>);

impl Ipc {
    /// A reference to it, for one more set.
    fn get(&self) -> *mut bindings::ipc_namespace {
        // SAFETY: Held, by the type's invariant.
        unsafe { bindings::vserver_inline_get_ipc_ns(self.0.as_ptr()) }
    }
}

impl Drop for Ipc {
    fn drop(&mut self) {
        // SAFETY: Gives up the reference that the type's invariant names.
        unsafe { bindings::vserver_call_put_ipc_ns(self.0.as_ptr()) }
    }
}

/// The namespaces that a context has for itself. A context holds them, gives them to each process that enters, and lets go of
/// them when it ends; what is in them goes with the last process that uses them. Not to be dropped in atomic context.
pub(crate) struct OwnNamespaces {
    names: Names,
    ipc: Ipc,
}

// SAFETY: What it points to is counted by atomics and can be let go of by any process.
unsafe impl Send for OwnNamespaces {}

impl OwnNamespaces {
    /// New ones, with the caller's names and nothing in them. `ENOMEM`; `ENOSPC`: the user has too many.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Process context; the caller has namespaces, as it makes a request.
        let names = from_err_ptr(unsafe {
            bindings::vserver_call_copy_utsname(
                NEW_UTS,
                bindings::current_user_ns(),
                (*own_set()).uts_ns.cast(),
            )
        })?;
        // INVARIANT: New, with a reference that is this one's.
        let names = Names(NonNull::new(names).ok_or(ENOMEM)?);
        // SAFETY: As above.
        let ipc = from_err_ptr(unsafe {
            bindings::vserver_call_copy_ipcs(
                NEW_IPC,
                bindings::current_user_ns(),
                (*own_set()).ipc_ns.cast(),
            )
        })?;
        // INVARIANT: As above.
        let ipc = Ipc(NonNull::new(ipc).ok_or(ENOMEM)?);
        Ok(Self { names, ipc })
    }
}

/// Gives the caller a set of namespaces that it shares with nobody (see `TaskRef::shares_namespaces`): of the same namespaces,
/// but for those of a context. What the caller has attached of System V memory stays attached; its undo lists end, as when
/// it exits. `ENOMEM` is the only error.
pub(crate) fn own_set_of_namespaces(of_context: Option<&OwnNamespaces>) -> Result {
    let task = current_raw();
    // SAFETY: Process context; copies the caller's set.
    let set = from_err_ptr(unsafe {
        bindings::vserver_call_create_new_namespaces(
            0,
            task,
            bindings::current_user_ns(),
            (*task).fs.cast(),
        )
    })?;
    if let Some(of_context) = of_context {
        // SAFETY: Nobody else knows the set yet. It has a reference to each namespace in it, which are exchanged.
        unsafe {
            // INVARIANT: The set's reference passes to what is dropped here.
            drop(NonNull::new((*set).uts_ns.cast()).map(Names));
            (*set).uts_ns = of_context.names.get().cast();
            // INVARIANT: As above.
            drop(NonNull::new((*set).ipc_ns.cast()).map(Ipc));
            (*set).ipc_ns = of_context.ipc.get().cast();
        }
        // SAFETY: As at the caller's exit: it has no lock of IPC.
        unsafe {
            bindings::vserver_call_exit_sem(task);
            bindings::vserver_call_exit_shm(task);
            bindings::vserver_inline_shm_init_task(task);
        }
    }
    // SAFETY: The caller's own set, and the new one's reference passes to it.
    unsafe { bindings::vserver_call_switch_task_namespaces(task, set) };
    Ok(())
}

/// Whether the caller's host and domain names are neither the machine's nor those of a user namespace made inside, which has
/// rules of its own.
pub(crate) fn has_names_of_context() -> bool {
    // SAFETY: The caller's set, which holds its namespaces; these keep their user namespace.
    unsafe {
        let names = (*own_set()).uts_ns.cast::<bindings::uts_namespace>();
        names != (&raw mut bindings::init_uts_ns).cast()
            && (*names).user_ns == &raw mut bindings::init_user_ns
    }
}
