// SPDX-License-Identifier: GPL-2.0

//! Names in one mount of proc that is everybody's: the host's, contexts' with a process 1, and those without.

use super::{
    as_init, expect_success, named,
    proc::{be_called, name},
    spawn,
};
use crate::{
    fixture::{enter, equal, inside, Outcome, Sitter},
    proc::listing,
    test, Test,
};
use nix::{errno::Errno, sys::wait::waitpid, unistd::Pid};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::names_of_everybody", 120, in_turns),
    test("fakeinit::names_at_once", 240, at_once),
    test("fakeinit::names_while_others_come_and_go", 240, come_and_go),
];

/// Everybody who looks.
struct Everybody {
    machine: String,
    one: Sitter,
    two: Sitter,
    without: Sitter,
    host: Sitter,
}

const ABSENT: Result<String, Errno> = Err(Errno::ENOENT);

fn is(name: &str) -> Result<String, Errno> {
    Ok(name.to_string())
}

impl Everybody {
    fn new() -> Result<Self, String> {
        let called = |context: i32, flags: u32, name: &'static str| {
            Sitter::new(context, flags, move || be_called(name))
        };
        Ok(Self {
            machine: named("the machine's", name(1))?,
            one: called(CONTEXT_NEW, FLAG_FAKEINIT, "init-one")?,
            two: called(CONTEXT_NEW, FLAG_FAKEINIT, "init-two")?,
            without: called(300, 0, "without")?,
            host: called(CONTEXT_ROOT, 0, "host")?,
        })
    }

    fn contexts(&self) -> [i32; 5] {
        [
            CONTEXT_ROOT,
            self.one.context,
            self.without.context,
            self.two.context,
            CONTEXT_SPECTATOR,
        ]
    }

    /// All that somebody in a context finds by the numbers.
    fn look(&self, from: i32) -> Outcome {
        let spectator = from == CONTEXT_SPECTATOR;
        let own = match from {
            from if from == self.one.context => is("init-one"),
            from if from == self.two.context => is("init-two"),
            _ => is(&self.machine),
        };
        equal("process 1", name(1), own)?;
        let seen = |what: &str, pid: i32, called: &str, is_seen: bool| {
            let expected = if is_seen { is(called) } else { ABSENT };
            equal(what, name(pid), expected)
        };
        seen("one", self.one.pid, "init-one", spectator)?;
        seen("two", self.two.pid, "init-two", spectator)?;
        let at_host = spectator || from == CONTEXT_ROOT;
        seen("the host's", self.host.pid, "host", at_host)?;
        let same = spectator || from == self.without.context;
        seen("the control", self.without.pid, "without", same)?;
        let listed = listing()?;
        let ones = listed.iter().filter(|pid| **pid == 1).count();
        equal("listed once", ones, 1)?;
        for init in [&self.one, &self.two] {
            equal("listed", listed.contains(&init.pid), spectator)?;
        }
        Ok(())
    }
}

fn in_turns() -> Outcome {
    let everybody = Everybody::new()?;
    for round in 0..20 {
        for context in everybody.contexts() {
            inside(context, || everybody.look(context))
                .map_err(|text| format!("round {round}: {text}"))?;
        }
    }
    Ok(())
}

/// Starts somebody who looks again and again.
fn watcher(everybody: &Everybody, context: i32) -> Result<Pid, String> {
    const ROUNDS: usize = 100;
    spawn(|| {
        let looked = match context {
            CONTEXT_ROOT => Ok(()),
            context => named("enter", enter(context, 0, 0)).map(drop),
        };
        let looked = looked.and_then(|()| (0..ROUNDS).try_for_each(|_| everybody.look(context)));
        if let Err(text) = &looked {
            eprintln!("in {context}: {text}");
        }
        i32::from(looked.is_err())
    })
}

fn at_once() -> Outcome {
    let everybody = Everybody::new()?;
    let mut watchers = Vec::new();
    for _ in 0..2 {
        for context in everybody.contexts() {
            watchers.push(watcher(&everybody, context)?);
        }
    }
    let outcomes: Vec<Outcome> = watchers.into_iter().map(expect_success).collect();
    outcomes.into_iter().collect()
}

/// The same, while contexts begin and end whose processes 1 look for themselves.
fn come_and_go() -> Outcome {
    let everybody = Everybody::new()?;
    let comer = |called: &'static str| {
        spawn(|| loop {
            let looked = as_init(|real| {
                be_called(called)?;
                for _ in 0..10 {
                    equal("its own", name(1), is(called))?;
                    equal("the real number", name(real), ABSENT)?;
                    equal("another's", name(everybody.one.pid), ABSENT)?;
                }
                Ok(())
            });
            if let Err(text) = looked {
                eprintln!("{called}: {text}");
                return 1;
            }
        })
    };
    let comers = [comer("comer-one")?, comer("comer-two")?];
    let mut watchers = Vec::new();
    for context in everybody.contexts() {
        watchers.push(watcher(&everybody, context)?);
    }
    let mut outcomes: Vec<Outcome> = watchers.into_iter().map(expect_success).collect();
    for pid in comers {
        let alive = nix::sys::wait::WaitPidFlag::WNOHANG;
        let state = waitpid(pid, Some(alive));
        let still = Ok(nix::sys::wait::WaitStatus::StillAlive);
        outcomes.push(equal("who comes and goes", state, still));
        let _ = super::end(pid);
    }
    outcomes.into_iter().collect()
}
