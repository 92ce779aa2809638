// SPDX-License-Identifier: GPL-2.0

//! The attachment by ftrace: each hooked function of the kernel begins with a jump to the hook's entry (an ftrace direct
//! jump), from where the function itself goes on past that jump (`vserver_orig_NAME`).
//!
//! The hooks of a group are attached together, in one pass over the kernel's text, all or none.

use super::row::{Hook, Place};
use crate::bindings;
use core::{cell::UnsafeCell, ffi::c_int, mem::MaybeUninit, ptr::NonNull};
use kernel::{
    error::to_result,
    prelude::*,
    time::{delay::fsleep, Delta},
};

struct Ops(UnsafeCell<bindings::ftrace_ops>);

// SAFETY: ftrace changes it under locks of its own.
unsafe impl Sync for Ops {}

static OPS: Ops = Ops(UnsafeCell::new({
    // SAFETY: Zeroes are a value of each member; that is how C initialises those that are not named.
    let mut ops: bindings::ftrace_ops = unsafe { MaybeUninit::zeroed().assume_init() };
    // kernel.ftrace_enabled=0 must not switch a wall off.
    ops.flags = bindings::FTRACE_OPS_FL_PERMANENT as usize;
    ops
}));

/// The sites of hooks, and where each jumps to, as ftrace takes them.
///
/// # Invariants
///
/// From `alloc_ftrace_hash()`, and nobody else's to free. When it is dropped, it is not attached.
struct Jumps(NonNull<bindings::ftrace_hash>);

// SAFETY: It belongs to no task.
unsafe impl Send for Jumps {}

impl Jumps {
    /// `ENOMEM`.
    fn new(sites: &[Site]) -> Result<Self> {
        let bits = sites.len().next_power_of_two().trailing_zeros();
        // SAFETY: Process context.
        let raw = unsafe { bindings::vserver_call_alloc_ftrace_hash(bits as c_int) };
        // INVARIANT: New.
        let jumps = Self(NonNull::new(raw).ok_or(ENOMEM)?);
        for site in sites {
            // SAFETY: Computes a number.
            let target = unsafe { bindings::vserver_inline_ftrace_jmp_set(entry_of(&site.hook)) };
            // SAFETY: Valid by the type's invariant, and nobody else knows it yet.
            let added = unsafe {
                bindings::vserver_call_add_ftrace_hash_entry_direct(
                    jumps.0.as_ptr(),
                    site.address,
                    target,
                )
            };
            if added.is_null() {
                return Err(ENOMEM);
            }
        }
        Ok(jumps)
    }

    /// All of them, or none. It is to be detached before it is dropped, unless this fails.
    fn attach(&self) -> Result {
        // SAFETY: Valid by the type's invariant; the operations are static. Process context.
        to_result(unsafe {
            bindings::vserver_call_update_ftrace_direct_add(OPS.0.get(), self.0.as_ptr())
        })
    }

    /// Those that are attached. Callers can still be on their way after it.
    fn detach(self) {
        loop {
            // SAFETY: As in `attach`.
            let result = to_result(unsafe {
                bindings::vserver_call_update_ftrace_direct_del(OPS.0.get(), self.0.as_ptr())
            });
            if result != Err(ENOMEM) {
                kernel::warn_on!(result.is_err());
                break;
            }
            // The kernel allocates for this, and a module cannot go with its hooks attached.
            fsleep(Delta::from_millis(10));
        }
    }
}

impl Drop for Jumps {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::vserver_call_free_ftrace_hash(self.0.as_ptr()) }
    }
}

/// What is jumped to needs no ENDBR, and rustc cannot leave that away.
fn entry_of(hook: &Hook) -> usize {
    // SAFETY: Computes a number.
    let endbr = unsafe { bindings::vserver_inline_gen_endbr() };
    // SAFETY: The first instructions of an entry, which are longer than that.
    let first = unsafe { hook.entry.cast::<u32>().read_unaligned() };
    let skipped = if first == endbr { size_of::<u32>() } else { 0 };
    hook.entry as usize + skipped
}

/// A hook, and where ftrace attaches it.
struct Site {
    hook: Hook,
    address: usize,
}

/// Hooks that are attached together.
struct Group {
    sites: KVec<Site>,
    attached: Option<Jumps>,
}

impl Group {
    const fn new() -> Self {
        Self {
            sites: KVec::new(),
            attached: None,
        }
    }

    /// Adds hooks, whose functions are looked for. `ENOENT`: the log names the one that the kernel lacks.
    fn add(&mut self, hooks: &[Hook]) -> Result {
        for &hook in hooks {
            let name = hook.name();
            let original = match hook.place {
                Place::Function { original } => original,
                #[cfg(CONFIG_SECURITY_VSERVER)]
                Place::Member { .. } => continue,
            };
            // SAFETY: The name ends with a NUL.
            let function =
                unsafe { bindings::vserver_call_kallsyms_lookup_name(hook.name.as_char_ptr()) };
            if function == 0 {
                pr_err!("hook {name}: this kernel has no such function\n");
                return Err(ENOENT);
            }
            // SAFETY: Looks the address up.
            let address = unsafe { bindings::vserver_call_ftrace_location(function) } as usize;
            if address == 0 {
                pr_err!("hook {name}: the function has no ftrace site\n");
                return Err(ENOENT);
            }
            // SAFETY: A static of this module, which nothing reads before the hook is attached.
            unsafe { *original = address + bindings::MCOUNT_INSN_SIZE as usize };
            self.sites.push(Site { hook, address }, GFP_KERNEL)?;
        }
        Ok(())
    }

    fn attach(&mut self) -> Result {
        let jumps = Jumps::new(&self.sites)?;
        jumps.attach().inspect_err(|_| self.name_the_culprit())?;
        self.attached = Some(jumps);
        Ok(())
    }

    /// All together fail without saying which: one by one tells. Attaches nothing.
    fn name_the_culprit(&self) {
        for site in &self.sites {
            let Ok(jump) = Jumps::new(core::slice::from_ref(site)) else {
                return;
            };
            match jump.attach() {
                Ok(()) => jump.detach(),
                Err(error) => pr_err!(
                    "hook {}: cannot be attached (error {}; held by a livepatch or another direct call?)\n",
                    site.hook.name(),
                    error.to_errno()
                ),
            }
        }
    }

    fn detach(&mut self) {
        if let Some(jumps) = self.attached.take() {
            jumps.detach();
        }
        self.sites = KVec::new();
    }

    fn count(&self) -> u32 {
        self.sites.len() as u32
    }
}

struct Engine {
    always: Group,
    with_inits: Group,
}

kernel::sync::global_lock! {
    /// A leaf among the locks of the module: by module init and exit, by requests, and when hooks are attached or detached.
    // SAFETY: Initialised by `init`, which module init calls before there is anybody to use it.
    unsafe(uninit) static ENGINE: Mutex<Engine> = Engine {
        always: Group::new(),
        with_inits: Group::new(),
    };
}

/// To be called by module init, before anything else here.
pub(super) fn init() {
    // SAFETY: Called once, before anything else here.
    unsafe { ENGINE.init() }
}

/// Attaches the hooks that are attached for as long as the module is loaded. What is needed later is looked for, too: a
/// kernel that lacks it is refused at once. For module init; after an error, [`detach`] takes back what was done.
pub(super) fn attach(always: &[&[Hook]], with_inits: &[&[Hook]]) -> Result {
    let mut engine = ENGINE.lock();
    for hooks in always {
        engine.always.add(hooks)?;
    }
    for hooks in with_inits {
        engine.with_inits.add(hooks)?;
    }
    engine.always.attach()
}

/// See [`super::attach_inits`].
pub(super) fn attach_inits() -> Result {
    ENGINE.lock().with_inits.attach()
}

/// See [`super::detach_inits`].
pub(super) fn detach_inits() {
    // This can take a while, and who only asks what is attached does not wait for it.
    let jumps = ENGINE.lock().with_inits.attached.take();
    if let Some(jumps) = jumps {
        jumps.detach();
    }
}

/// Detaches what is attached, at module exit. Callers can still be on their way after it: see `attach/mod.rs`.
pub(super) fn detach() {
    let mut engine = ENGINE.lock();
    engine.with_inits.detach();
    engine.always.detach();
}

/// How many hooks are attached, and how many are to be attached by now.
pub(super) fn hooks() -> (u32, u32) {
    let engine = ENGINE.lock();
    let attached = |group: &Group| {
        if group.attached.is_some() {
            group.count()
        } else {
            0
        }
    };
    let inits = attached(&engine.with_inits);
    (
        attached(&engine.always) + inits,
        engine.always.count() + inits,
    )
}

/// The hook at a place of the list of all, and whether it is attached. `None`: behind the last one.
pub(super) fn hook_at(index: usize) -> Option<(Hook, bool)> {
    let engine = ENGINE.lock();
    let at = |group: &Group, index: usize| {
        let hook = group.sites.get(index)?.hook;
        Some((hook, group.attached.is_some()))
    };
    match index.checked_sub(engine.always.sites.len()) {
        None => at(&engine.always, index),
        Some(index) => at(&engine.with_inits, index),
    }
}
