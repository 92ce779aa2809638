// SPDX-License-Identifier: GPL-2.0

use crate::caps;
use crate::enter::{decide, Caller, Decision, Refusal};
use crate::limits;
use crate::uapi::*;
use crate::visibility::{exceeds, touch, visible, Party, Touch, UserNamespace};
use proptest::prelude::*;

mod address;
mod files;

const ROOT: Caller = Caller {
    context: CONTEXT_ROOT,
    flags: 0,
    admin: true,
    decides: true,
    single_threaded: true,
    entangled: false,
    traced: false,
    init: false,
};

fn inside(context: i32, flags: u32) -> Caller {
    Caller {
        context,
        flags,
        admin: true,
        decides: true,
        single_threaded: true,
        entangled: false,
        traced: false,
        init: false,
    }
}

#[test]
fn spectator_sees_all_and_touches_none() {
    let spectator = Party::of(CONTEXT_SPECTATOR);
    assert!(visible(spectator, Party::of(CONTEXT_ROOT)));
    assert!(visible(spectator, Party::of(100)));
    assert!(visible(spectator, arriving(100, 7)));
    assert_eq!(touch(spectator, Party::of(100)), Touch::Refused);
    assert_eq!(touch(spectator, spectator), Touch::Allowed);
    assert_eq!(
        touch(spectator, arriving(CONTEXT_SPECTATOR, 7)),
        Touch::Refused
    );
}

#[test]
fn the_root_server_is_not_privileged() {
    let (root, inside) = (Party::of(CONTEXT_ROOT), Party::of(100));
    assert!(!visible(root, inside));
    assert_eq!(touch(root, inside), Touch::Absent);
    assert_eq!(touch(inside, root), Touch::Absent);
}

fn arriving(context: i32, arrival: u64) -> Party {
    Party {
        arrival,
        ..Party::of(context)
    }
}

#[test]
fn an_arriving_process_is_there_for_its_own_arrival_only() {
    let (one, two, settled) = (arriving(100, 7), arriving(100, 8), Party::of(100));
    assert_eq!(touch(settled, one), Touch::Absent);
    assert_eq!(touch(two, one), Touch::Absent);
    assert_eq!(touch(arriving(100, 7), one), Touch::Allowed);
    // It sees the others, its own children that have executed a program among them.
    assert_eq!(touch(one, settled), Touch::Allowed);
    assert_eq!(touch(arriving(101, 7), one), Touch::Absent);
}

#[test]
fn more_than_the_ceiling_is_out_of_reach() {
    let excess = Party {
        exceeds: true,
        ..Party::of(100)
    };
    assert_eq!(touch(Party::of(100), excess), Touch::Absent);
    assert_eq!(touch(arriving(100, 7), excess), Touch::Absent);
    assert_eq!(touch(excess, excess), Touch::Allowed);
    assert_eq!(touch(excess, Party::of(100)), Touch::Allowed);
}

#[test]
fn a_user_namespace_made_inside_gives_no_excess() {
    let sys_admin = 1 << 21;
    assert!(exceeds(UserNamespace::Same, sys_admin, sys_admin));
    assert!(!exceeds(UserNamespace::Same, sys_admin, 1));
    assert!(!exceeds(UserNamespace::Inner, u64::MAX, u64::MAX));
    assert!(exceeds(UserNamespace::Other, 1, 0));
    assert!(!exceeds(UserNamespace::Other, 0, u64::MAX));
}

#[test]
fn numbers_are_for_root_in_context_0() {
    assert_eq!(
        decide(ROOT, 100, 0),
        Ok(Decision::Numbered {
            context: 100,
            create: true
        })
    );
    assert_eq!(
        decide(ROOT, 50000, 0),
        Ok(Decision::Numbered {
            context: 50000,
            create: false
        })
    );
    let user = Caller {
        admin: false,
        ..ROOT
    };
    assert_eq!(decide(user, 100, 0), Err(Refusal::NotAllowed));
    assert_eq!(decide(user, CONTEXT_SPECTATOR, 0), Err(Refusal::NotAllowed));
    assert_eq!(decide(user, CONTEXT_NEW, 0), Ok(Decision::New));
    assert_eq!(decide(inside(100, 0), 101, 0), Err(Refusal::NotAllowed));
    assert_eq!(
        decide(inside(100, 0), CONTEXT_ROOT, 0),
        Err(Refusal::NotAllowed)
    );
}

#[test]
fn locked_contexts_can_only_stay() {
    let locked = inside(100, FLAG_LOCK);
    assert_eq!(decide(locked, CONTEXT_NEW, 0), Err(Refusal::NotAllowed));
    assert_eq!(decide(locked, CONTEXT_STAY, FLAG_NPROC), Ok(Decision::Stay));
}

#[test]
fn flags_are_for_who_decides_in_the_context() {
    let user = Caller {
        decides: false,
        ..inside(100, 0)
    };
    assert_eq!(decide(user, CONTEXT_STAY, 0), Ok(Decision::Stay));
    for bit in 0..7 {
        let flag = 1 << bit;
        assert_eq!(decide(user, CONTEXT_STAY, flag), Err(Refusal::NotAllowed));
        assert_eq!(
            decide(inside(100, 0), CONTEXT_STAY, flag),
            Ok(Decision::Stay)
        );
        // A context of its own.
        assert_eq!(decide(user, CONTEXT_NEW, flag), Ok(Decision::New));
    }
    assert_eq!(decide(user, CONTEXT_STAY, 128), Err(Refusal::Invalid));
}

#[test]
fn nobody_enters_while_traced_or_tracing() {
    let traced = Caller {
        traced: true,
        ..ROOT
    };
    for context in [CONTEXT_NEW, CONTEXT_SPECTATOR, 100] {
        assert_eq!(decide(traced, context, 0), Err(Refusal::NotAllowed));
    }
    assert_eq!(decide(traced, CONTEXT_STAY, 0), Ok(Decision::Stay));
    assert_eq!(decide(traced, CONTEXT_ROOT, 0), Ok(Decision::Stay));
}

#[test]
fn malformed_requests_are_invalid() {
    for context in [-3, i32::MIN, CONTEXT_MAX + 1, i32::MAX] {
        assert_eq!(decide(ROOT, context, 0), Err(Refusal::Invalid));
    }
    assert_eq!(decide(ROOT, CONTEXT_NEW, 128), Err(Refusal::Invalid));
    assert_eq!(decide(ROOT, CONTEXT_STAY, FLAG_LOCK), Err(Refusal::Invalid));
    assert_eq!(
        decide(ROOT, CONTEXT_SPECTATOR, FLAG_LOCK),
        Err(Refusal::Invalid)
    );
    let threads = Caller {
        single_threaded: false,
        ..ROOT
    };
    assert_eq!(decide(threads, CONTEXT_NEW, 0), Err(Refusal::Invalid));
    let entangled = Caller {
        entangled: true,
        ..ROOT
    };
    for context in [CONTEXT_NEW, CONTEXT_STAY, CONTEXT_ROOT, 100] {
        assert_eq!(decide(entangled, context, 0), Err(Refusal::Busy));
    }
    assert_eq!(decide(entangled, -3, 0), Err(Refusal::Invalid));
}

#[test]
fn process_1_stays_for_good() {
    assert_eq!(decide(ROOT, CONTEXT_NEW, FLAG_FAKEINIT), Ok(Decision::New));
    assert_eq!(
        decide(ROOT, CONTEXT_STAY, FLAG_FAKEINIT),
        Err(Refusal::Invalid)
    );
    let init = Caller {
        init: true,
        ..inside(100, FLAG_FAKEINIT)
    };
    assert_eq!(decide(init, CONTEXT_NEW, 0), Err(Refusal::NotAllowed));
    assert_eq!(decide(init, CONTEXT_STAY, FLAG_LOCK), Ok(Decision::Stay));
}

#[test]
fn nproc_limits_only_with_the_flag() {
    assert_eq!(limits::nproc(0, 5, 7), None);
    assert_eq!(limits::nproc(FLAG_NPROC, 5, 7), Some(7));
    assert_eq!(limits::nproc(FLAG_NPROC | FLAG_ULIMIT, 5, 7), Some(5));
    assert!(limits::may_add(6, Some(7)));
    assert!(!limits::may_add(7, Some(7)));
    assert!(limits::may_add(u64::MAX, None));
}

#[test]
fn nesting_has_an_end() {
    assert!(limits::may_nest(0));
    assert!(limits::may_nest(limits::NESTING_MAX - 1));
    assert!(!limits::may_nest(limits::NESTING_MAX));
}

#[test]
fn the_mask_of_41_capabilities() {
    assert_eq!(caps::all(40), 0x1ff_ffff_ffff);
    assert_eq!(caps::all(63), u64::MAX);
}

proptest! {
    /// Nothing outside context 0 ever gets to choose a number, whatever it asks.
    #[test]
    fn no_number_from_inside(context in 1..=CONTEXT_MAX, flags in 0u32..128, ask: i32, add: u32) {
        let decision = decide(inside(context, flags), ask, add);
        prop_assert!(!matches!(decision, Ok(Decision::Numbered { .. })), "{:?}", decision);
    }

    /// A ceiling never grows back.
    #[test]
    fn ceilings_only_shrink(outer: u64, dropped: u64) {
        prop_assert_eq!(caps::ceiling(outer, dropped) & outer, outer);
    }

    /// Seeing is never symmetric by accident: only equality or the spectator sees.
    #[test]
    fn isolation(a in 0..=CONTEXT_MAX, b in 0..=CONTEXT_MAX) {
        let (one, other) = (Party::of(a), Party::of(b));
        prop_assert_eq!(visible(one, other), a == b || a == CONTEXT_SPECTATOR);
        prop_assert_eq!(touch(one, other) == Touch::Allowed, a == b);
    }
}
