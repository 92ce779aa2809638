// SPDX-License-Identifier: GPL-2.0

//! What is left of a terminal when it, its context or the module is gone.

use super::*;

pub const OF_A_CONTEXT: Test = test("pty::of_a_context_that_ended", 60, ended);
pub const LENT: Test = test("pty::lent_before_it_ended", 120, lent);
pub const OF_THE_MODULE: Test = test("pty::made_before_the_module", 120, before_the_module);

/// What outlives its context is nobody's, not the next one's of that number.
fn ended() -> Outcome {
    let (one, two) = sockets()?;
    let before = listed()?;
    let (sitter, number) = holder_who(A, |pair| send(&one, &pair.master))?;
    let path = path_of(number);
    let master = receive(&two)?;
    drop(sitter);
    until_empty()?;
    inside(A, || {
        equal("listed", listed()?, BTreeSet::new())?;
        equal("opened", opened(&path).map(drop), Err(Errno::ENOENT))
    })?;
    equal("the host", listed()?, before)?;
    drop(master);
    until_empty()
}

/// What was lent of a terminal that has ended is nothing of the next one, whose inode is often in the same memory.
fn lent() -> Outcome {
    const AT_ONCE: usize = 8;
    let (one, two) = sockets()?;
    let before = listed()?;
    let pairs = |count: usize| {
        (0..count)
            .map(|_| Pair::new())
            .collect::<Result<Vec<_>, _>>()
    };
    for _ in 0..12 {
        let sitter = Sitter::new(A, 0, || {
            let pairs = pairs(AT_ONCE)?;
            for pair in &pairs {
                send(&one, &pair.terminal()?)?;
            }
            std::mem::forget(pairs);
            Ok(())
        })?;
        for _ in 0..AT_ONCE {
            again(&receive(&two)?).map_err(words)?;
        }
        drop(sitter);
        until_empty()?;
    }
    let sitter = Sitter::new(A, 0, || {
        std::mem::forget(pairs(100)?);
        Ok(())
    })?;
    equal("the host's", listed()?, before)?;
    drop(sitter);
    until_empty()
}

/// Those that were there when the module came are the host's, and stay when it goes and comes again.
fn before_the_module() -> Outcome {
    until_empty()?;
    let early = Pair::new()?;
    let open = early.terminal()?;
    // Dead, but still held: its entry is not among the others any more.
    let late = Pair::new()?.terminal()?;
    module::reload()?;
    let before = listed()?;
    ensure("listed", before.contains(&early.number))?;
    talk(&early.master, &open)?;
    // Or it would be passed on.
    drop(open);
    inside(A, || {
        equal("listed", listed()?, BTreeSet::new())?;
        all_ways_closed(&early.path())
    })?;
    until_empty()?;
    module::reload()?;
    equal("the host", listed()?, before)?;
    talk(&early.master, &early.terminal()?)?;
    drop(late);
    Ok(())
}

fn all_ways_closed(path: &str) -> Outcome {
    equal("stat", fs::metadata(path).is_ok(), false)?;
    equal("open", opened(path).map(drop), Err(Errno::ENOENT))
}
