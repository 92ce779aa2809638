// SPDX-License-Identifier: GPL-2.0

//! ENTER, GET, LIST: numbers, flags, inheritance, the end, nesting, the ceiling, every errno.

use crate::{
    fixture::{device, enter, equal, get, inside, list, until_empty, words, Outcome, Sitter},
    syscalls, test, Test,
};
use nix::{
    errno::Errno,
    unistd::{setuid, Uid},
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("context::numbers", 20, numbers),
    test("context::flags", 20, flags),
    test("context::unprivileged", 20, unprivileged),
    test("context::threads_cannot_enter", 20, threads),
    test("context::flags_of_those_who_stay", 20, flags_by_staying),
    test("context::lock", 20, lock),
    test("context::private", 20, private),
    test("context::ends_with_its_last_process", 20, ends),
    test("context::nesting", 20, nesting),
    test("context::nesting_has_an_end", 20, nesting_end),
    test("context::list_shows_ones_own", 20, list_own),
    test("context::no_way_back", 20, no_way_back),
];

const CAP_SYS_CHROOT: u64 = 1 << 18;

fn numbers() -> Outcome {
    inside(CONTEXT_ROOT, || {
        equal(
            "new",
            enter(CONTEXT_NEW, 0, 0).map(|e| e.context >= CONTEXT_DYNAMIC_MIN),
            Ok(true),
        )
    })?;
    inside(CONTEXT_ROOT, || {
        equal("chosen", enter(300, 0, 0).map(|e| e.context), Ok(300))
    })?;
    inside(CONTEXT_ROOT, || {
        equal(
            "highest chosen",
            enter(49151, 0, 0).map(|e| e.context),
            Ok(49151),
        )
    })?;
    inside(CONTEXT_ROOT, || {
        equal("0 from 0", enter(0, 0, 0).map(|e| e.context), Ok(0))
    })?;
    inside(300, || {
        equal(
            "GET",
            get(0).map(|info| (info.context, info.flags, info.tasks)),
            Ok((300, 0, 1)),
        )
    })
}

/// All are accepted, all at once, and are then there.
fn flags() -> Outcome {
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, FLAG_ALL, 0).map_err(words)?;
        equal("all", get(0).map(|info| info.flags), Ok(FLAG_ALL))
    })?;
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        for bit in 0..7 {
            let flag = 1 << bit;
            enter(CONTEXT_STAY, flag, 0).map_err(words)?;
            let flags = get(0).map_err(words)?.flags;
            equal("one by one", flags, (flag << 1) - 1)?;
        }
        Ok(())
    })
}

fn unprivileged() -> Outcome {
    inside(CONTEXT_ROOT, || {
        setuid(Uid::from_raw(1000)).map_err(words)?;
        equal("by number", enter(300, 0, 0).err(), Some(Errno::EPERM))?;
        equal("spectator", enter(1, 0, 0).err(), Some(Errno::EPERM))?;
        equal(
            "stay",
            enter(-2, 0, CAP_SYS_CHROOT).map(|e| e.context),
            Ok(0),
        )?;
        equal("new", enter(-1, 0, 0).map(|e| e.context > 1), Ok(true))
    })
}

fn threads() -> Outcome {
    inside(CONTEXT_ROOT, || {
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        let thread = std::thread::spawn(move || nix::unistd::read(&reader, &mut [0]));
        let got = enter(CONTEXT_NEW, 0, 0).err();
        drop(writer);
        let _ = thread.join();
        equal("with two threads", got, Some(Errno::EINVAL))
    })
}

/// Flags concern everybody in the context: they take root's say, or nobody else to be there.
fn flags_by_staying() -> Outcome {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let stay = |flags, caps| enter(CONTEXT_STAY, flags, caps).map(drop);
    let user = || setuid(Uid::from_raw(1000)).map_err(words);
    let _other = Sitter::idle(300)?;
    for bit in 0..7 {
        let flag = 1 << bit;
        inside(300, || {
            user()?;
            equal("a user", stay(flag, 0), Err(Errno::EPERM))?;
            equal("nothing has changed", get(0).map(|info| info.flags), Ok(0))
        })?;
    }
    inside(300, || {
        stay(0, CAP_SYS_ADMIN).map_err(words)?;
        equal("root without it", stay(FLAG_NPROC, 0), Err(Errno::EPERM))
    })?;
    inside(300, || {
        user()?;
        equal("to give up capabilities", stay(0, CAP_SYS_CHROOT), Ok(()))?;
        // A user namespace made inside gives nobody a say.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).map_err(words)?;
        equal("root of its own", stay(FLAG_NPROC, 0), Err(Errno::EPERM))
    })?;
    inside(300, || equal("root", stay(FLAG_HIDEINFO, 0), Ok(())))?;
    // Alone, with threads and processes of its own or without.
    inside(CONTEXT_NEW, || {
        user()?;
        equal("alone", stay(FLAG_NPROC | FLAG_ULIMIT, 0), Ok(()))?;
        let child = Sitter::idle(CONTEXT_ROOT)?;
        equal("not alone", stay(FLAG_LOCK, 0), Err(Errno::EPERM))?;
        drop(child);
        equal("alone again", stay(FLAG_FAKEINIT, 0), Ok(()))
    })?;
    // A context that a user makes in a user namespace of his own.
    inside(CONTEXT_ROOT, || {
        user()?;
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).map_err(words)?;
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        let _child = Sitter::idle(CONTEXT_ROOT)?;
        equal("its root", stay(FLAG_NPROC, 0), Ok(()))
    })
}

fn lock() -> Outcome {
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, FLAG_LOCK, 0).map_err(words)?;
        equal(
            "another",
            enter(CONTEXT_NEW, 0, 0).err(),
            Some(Errno::EPERM),
        )?;
        equal("by number", enter(300, 0, 0).err(), Some(Errno::EPERM))?;
        equal("stay", enter(CONTEXT_STAY, 0, CAP_SYS_CHROOT).err(), None)
    })?;
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        enter(CONTEXT_STAY, FLAG_LOCK, 0).map_err(words)?;
        equal(
            "locked later",
            enter(CONTEXT_NEW, 0, 0).err(),
            Some(Errno::EPERM),
        )
    })
}

fn private() -> Outcome {
    let sitter = Sitter::new(300, FLAG_PRIVATE, || Ok(()))?;
    inside(CONTEXT_ROOT, || {
        equal("join", enter(300, 0, 0).err(), Some(Errno::EPERM))
    })?;
    inside(CONTEXT_SPECTATOR, || {
        equal(
            "spectator",
            get(sitter.pid).map(|info| info.context),
            Ok(300),
        )
    })
}

fn ends() -> Outcome {
    let sitter = Sitter::idle(300)?;
    equal("alive", list(), Ok(vec![300]))?;
    drop(sitter);
    until_empty()?;
    inside(300, || {
        equal("the number again", get(0).map(|info| info.context), Ok(300))
    })
}

fn nesting() -> Outcome {
    inside(300, || {
        enter(CONTEXT_STAY, FLAG_NPROC, 0).map_err(words)?;
        let inner = Sitter::new(CONTEXT_NEW, 0, || {
            equal("outer", get(0).map(|info| info.outer), Ok(300))
        })?;
        equal("invisible", get(inner.pid).err(), Some(Errno::ESRCH))?;
        equal("counts here too", get(0).map(|info| info.tasks), Ok(2))?;
        equal(
            "no number from inside",
            enter(inner.context, 0, 0).err(),
            Some(Errno::EPERM),
        )
    })
}

/// All of them end with the one process that is in the innermost.
fn nesting_end() -> Outcome {
    inside(CONTEXT_ROOT, || {
        for depth in 0..32 {
            let entered = enter(CONTEXT_NEW, 0, 0).map_err(|error| format!("{depth}: {error}"));
            let outer = get(0).map_err(words)?.outer;
            equal("nested", outer == 0, depth == 0)?;
            entered?;
        }
        let before = get(0);
        let refused = Some(Errno::EAGAIN);
        equal("the 33rd", enter(CONTEXT_NEW, 0, 0).err(), refused)?;
        equal("nothing has changed", get(0), before)
    })?;
    equal("all ended", list(), Ok(vec![]))
}

fn list_own() -> Outcome {
    let _one = Sitter::idle(300)?;
    let _two = Sitter::idle(301)?;
    equal("host", list(), Ok(vec![300, 301]))?;
    inside(300, || equal("inside", list(), Ok(vec![300])))?;
    inside(CONTEXT_SPECTATOR, || {
        equal("spectator", list(), Ok(vec![300, 301]))
    })?;
    inside(300, || {
        let mut request = Open {
            context: 301,
            ..Open::default()
        };
        equal(
            "OPEN",
            syscalls::ioctl(&device()?, IOC_OPEN, &mut request).err(),
            Some(Errno::ESRCH),
        )
    })
}

fn no_way_back() -> Outcome {
    let _other = Sitter::idle(301)?;
    inside(300, || {
        for context in [0, 1, 301, 302] {
            equal("enter", enter(context, 0, 0).err(), Some(Errno::EPERM))?;
        }
        equal("still here", get(0).map(|info| info.context), Ok(300))
    })?;
    inside(CONTEXT_SPECTATOR, || {
        for context in [0, 301, CONTEXT_NEW] {
            equal("spectator", enter(context, 0, 0).err(), Some(Errno::EPERM))?;
        }
        Ok(())
    })
}
