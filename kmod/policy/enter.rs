// SPDX-License-Identifier: GPL-2.0

//! What a request to enter a context comes to.

use crate::uapi::*;

/// The caller, as far as the rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The context that it is in.
    pub context: i32,
    /// The flags of that context, 0 in context 0.
    pub flags: u32,
    /// Whether it has CAP_SYS_ADMIN over the machine.
    pub admin: bool,
    /// Whether it may decide for the others of its context: it is the only process there, or it has
    /// CAP_SYS_ADMIN in the user namespace that the context was made from.
    pub decides: bool,
    /// Whether it is the only thread of its process.
    pub single_threaded: bool,
    /// Whether it shares with another process what it acts through.
    pub entangled: bool,
    /// Whether it is traced or traces: that would reach across the wall.
    pub traced: bool,
    /// Whether it is process 1 of its context, which stays for good.
    pub init: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Stay: give up capabilities, add flags to the context.
    Stay,
    /// Make a context with the next free number.
    New,
    /// Join this context; make it first if there is none and the number may be chosen.
    Numbered {
        /// The number.
        context: i32,
        /// Whether it may be made.
        create: bool,
    },
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `EINVAL`.
    Invalid,
    /// `EPERM`.
    NotAllowed,
    /// `EOPNOTSUPP`: a known flag that this module does not implement.
    Unsupported,
    /// `EBUSY`.
    Busy,
}

/// The flags that the module implements.
pub const FLAGS_SUPPORTED: u32 = FLAG_ALL;

/// Decides about a request. The order of the checks is: what is malformed first (`EINVAL`), then
/// what this module cannot do, then what this caller may not do, so that a caller never
/// learns from an errno what it may not ask.
pub fn decide(caller: Caller, context: i32, flags: u32) -> Result<Decision, Refusal> {
    if flags & !FLAG_ALL != 0 || !(CONTEXT_STAY..=CONTEXT_MAX).contains(&context) {
        return Err(Refusal::Invalid);
    }
    if !caller.single_threaded {
        return Err(Refusal::Invalid);
    }
    let no_flags_there = matches!(context, CONTEXT_ROOT | CONTEXT_SPECTATOR)
        || (context == CONTEXT_STAY && matches!(caller.context, CONTEXT_ROOT | CONTEXT_SPECTATOR));
    if no_flags_there && flags != 0 {
        return Err(Refusal::Invalid);
    }
    if flags & !FLAGS_SUPPORTED != 0 {
        return Err(Refusal::Unsupported);
    }
    if caller.entangled {
        return Err(Refusal::Busy);
    }
    if context == CONTEXT_STAY {
        // Any user may give up capabilities. Flags concern the whole context.
        if flags != 0 && !caller.decides {
            return Err(Refusal::NotAllowed);
        }
        return Ok(Decision::Stay);
    }
    if caller.init || caller.flags & FLAG_LOCK != 0 || caller.context == CONTEXT_SPECTATOR {
        return Err(Refusal::NotAllowed);
    }
    if context != CONTEXT_NEW && (caller.context != CONTEXT_ROOT || !caller.admin) {
        return Err(Refusal::NotAllowed);
    }
    if context == CONTEXT_ROOT {
        return Ok(Decision::Stay);
    }
    if caller.traced {
        return Err(Refusal::NotAllowed);
    }
    if context == CONTEXT_NEW {
        return Ok(Decision::New);
    }
    Ok(Decision::Numbered {
        context,
        create: context < CONTEXT_DYNAMIC_MIN,
    })
}
