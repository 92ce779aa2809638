// SPDX-License-Identifier: GPL-2.0

//! The hooks that only a process 1 of a context needs (`hooks::WITH_INITS`): attached as long as somebody holds [`InitHooks`],
//! and some seconds longer.
//!
//! Who is about to become such a process holds them, and then its context until its last process has been reaped: what
//! process 1 leaves behind in it still has the numbers of before. So they are never detached from under anybody whom they
//! answer otherwise than the kernel does.
//!
//! # The delay
//!
//! Attaching and detaching change the kernel's text, which interrupts all processors several times and takes up to a tenth of a
//! second on an emulated machine; a process 1 that comes meanwhile waits. That is not to happen for each restart of a server,
//! which has no process 1 for a moment, nor as often as a user likes who may make contexts. In exchange the host pays for its
//! calls [`DELAY`] longer.

use crate::{
    attach,
    linux::{global_mutex, DelayedWork},
};
use kernel::{
    prelude::*,
    sync::atomic::{Atomic, Full, Relaxed},
};

/// In milliseconds.
const DELAY: u32 = 5000;

/// How many hold them. It rises before the lock of [`ATTACHED`] is taken, so that whoever has that and finds none may detach.
static HOLDERS: Atomic<i32> = Atomic::new(0);

global_mutex! {
    /// Whether they are attached. Held while they are being attached or detached.
    static ATTACHED: bool = false; init init_attached
}

static DETACHING: DelayedWork = DelayedWork::new();

/// What goes with them.
pub(crate) trait Follow {
    /// They are attached, and nobody is process 1 yet.
    fn attached();
    /// They are detached. Who is inside one of them has not left yet.
    fn detached();
}

/// The hooks are attached as long as this lives.
pub(crate) struct InitHooks(());

impl InitHooks {
    /// Attaches them, unless that is done. Sleeps; no lock of the module is held. `ENOMEM`, `ETXTBSY`: nothing has changed; the
    /// log names the function that somebody else holds.
    pub(crate) fn new<F: Follow>() -> Result<Self> {
        HOLDERS.add(1, Relaxed);
        let hooks = Self(());
        let mut attached = ATTACHED.lock();
        if !*attached {
            attach::attach_inits().map_err(told)?;
            F::attached();
            *attached = true;
        }
        drop(attached);
        Ok(hooks)
    }
}

/// The kernel's error for a function that a live patch or somebody's tracing holds is EINVAL, which is ENTER's for something else.
fn told(error: Error) -> Error {
    if error == ENOMEM {
        ENOMEM
    } else {
        ETXTBSY
    }
}

impl Drop for InitHooks {
    /// In any context.
    fn drop(&mut self) {
        if HOLDERS.fetch_sub(1, Full) == 1 {
            DETACHING.queue_after(DELAY);
        }
    }
}

/// Nobody has held them for a while.
fn detach<F: Follow>() {
    let mut attached = ATTACHED.lock();
    if *attached && HOLDERS.load(Relaxed) == 0 {
        attach::detach_inits();
        F::detached();
        *attached = false;
    }
}

/// In module init, before there is a context.
pub(super) fn init<F: Follow>() {
    init_attached();
    DETACHING.init(detach::<F>);
}

/// At module exit, when nobody can hold them any more: they are detached with all others, if they are not yet.
pub(crate) fn exit() {
    DETACHING.cancel();
}
