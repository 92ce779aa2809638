// SPDX-License-Identifier: GPL-2.0

//! Keys and keyrings: root is the same user everywhere, and the kernel has one keyring for him.

use super::*;
use crate::{
    fixture::{ensure, until_empty, Sitter},
    test,
};
use nix::unistd::{setuid, Uid};
use std::{ffi::CString, os::unix::fs::PermissionsExt};

pub const TESTS: &[Test] = &[
    test("back_door::keys_of_the_host", 120, keys_of_the_host),
    test("back_door::keys_of_contexts", 120, keys_of_contexts),
    test("back_door::keys_in_a_user_namespace", 120, namespaces),
    test("back_door::keyrings_from_before", 120, before),
    test("back_door::keyrings_by_name", 120, names),
    test("back_door::keyring_of_the_parent", 120, parent),
    test("back_door::keyrings_that_persist", 120, persistent),
    test("back_door::helper_for_keys", 120, helper),
    test("back_door::keys_that_no_helper_makes", 60, negative),
    test("back_door::keys_end_with_the_context", 120, ended),
];

const THREAD: i32 = -1;
const PROCESS: i32 = -2;
const SESSION: i32 = -3;
const USER: i32 = -4;
const USER_SESSION: i32 = -5;

const GET_KEYRING: usize = 0;
const JOIN: usize = 1;
const SETPERM: usize = 5;
const READ: usize = 11;
const TO_PARENT: usize = 18;
const PERSISTENT: usize = 22;

fn keyctl(command: usize, arguments: &[usize]) -> Result<i32, Errno> {
    let all = [&[command], arguments].concat();
    call(libc::SYS_keyctl, &all).map(|result| result as i32)
}

/// Adds a key whose payload is its own name.
fn add(name: &str, ring: i32) -> Result<i32, Errno> {
    let text = CString::new(name).map_err(|_| Errno::EINVAL)?;
    let arguments = [
        c"user".as_ptr() as usize,
        text.as_ptr() as usize,
        name.as_ptr() as usize,
        name.len(),
        ring as usize,
    ];
    call(libc::SYS_add_key, &arguments).map(|key| key as i32)
}

fn read(key: i32) -> Result<String, Errno> {
    let mut room = [0u8; 64];
    let arguments = [key as usize, room.as_mut_ptr() as usize, room.len()];
    let length = keyctl(READ, &arguments)? as usize;
    Ok(String::from_utf8_lossy(&room[..length.min(64)]).into_owned())
}

/// request_key(), with or without something for a helper.
fn request(name: &str, callout: bool) -> Result<i32, Errno> {
    let text = CString::new(name).map_err(|_| Errno::EINVAL)?;
    let callout = if callout {
        c"callout".as_ptr() as usize
    } else {
        0
    };
    let arguments = [
        c"user".as_ptr() as usize,
        text.as_ptr() as usize,
        callout,
        0,
    ];
    call(libc::SYS_request_key, &arguments).map(|key| key as i32)
}

/// A key, and the keyring that it is in, are not there for the caller.
fn absent(name: &str, key: i32, ring: i32) -> Outcome {
    let none = Err(Errno::ENOKEY);
    let room = [0u8; 64];
    let room = room.as_ptr() as usize;
    let own = keyctl(GET_KEYRING, &[USER as usize, 1]).map_err(words)? as usize;
    ensure("the same keyring", own != ring as usize)?;
    let (key_there, ring_there) = (key as usize, ring as usize);
    for (what, command, arguments) in [
        ("update", 2, vec![key_there, room, 4]),
        ("revoke", 3, vec![key_there]),
        ("chown", 4, vec![key_there, 0, 0]),
        ("setperm", SETPERM, vec![key_there, 0x3f3f_3f3f]),
        ("describe", 6, vec![key_there, room, 64]),
        ("clear", 7, vec![ring_there]),
        ("link", 8, vec![key_there, own]),
        ("link the keyring", 8, vec![ring_there, own]),
        ("link into it", 8, vec![own, ring_there]),
        ("unlink", 9, vec![key_there, own]),
        ("unlink from it", 9, vec![key_there, ring_there]),
        ("read", READ, vec![key_there, room, 64]),
        ("list", READ, vec![ring_there, room, 64]),
        ("set_timeout", 15, vec![key_there, 1]),
        ("get_security", 17, vec![key_there, room, 64]),
        ("invalidate", 21, vec![key_there]),
        ("move", 30, vec![key_there, ring_there, own, 0]),
    ] {
        equal(what, keyctl(command, &arguments).map(drop), none)?;
    }
    equal("request", request(name, false).map(drop), none)?;
    equal("add", add("stolen", ring).map(drop), none)?;
    let text = CString::new(name).map_err(words)?;
    for start in [ring, USER, USER_SESSION, SESSION] {
        let search = [
            start as usize,
            c"user".as_ptr() as usize,
            text.as_ptr() as usize,
            0,
        ];
        equal("search", keyctl(10, &search).map(drop), none)?;
    }
    let listed = fs::read_to_string("/proc/keys").map_err(words)?;
    ensure("in /proc/keys", !listed.contains(name))?;
    ensure(
        "keyring in /proc/keys",
        !listed.contains(&format!("{ring:08x}")),
    )
}

/// A key is there for who runs this, by its number, by its name and in the list.
fn present(name: &str, key: i32) -> Outcome {
    usable(name, key)?;
    let listed = fs::read_to_string("/proc/keys").map_err(words)?;
    ensure("not in /proc/keys", listed.contains(name))
}

/// The same, but for the list.
fn usable(name: &str, key: i32) -> Outcome {
    same("by number", read(key).map_err(words), name)?;
    equal("by name", request(name, false), Ok(key))
}

fn user_keyring() -> Result<i32, String> {
    keyctl(GET_KEYRING, &[USER as usize, 1]).map_err(words)
}

fn keys_of_the_host() -> Outcome {
    let name = "host-secret";
    let key = add(name, USER).map_err(words)?;
    let ring = user_keyring()?;
    // Any process of this user on the host has it, without a session too.
    host_without_caps(|| present(name, key))?;
    let outcome = inside_both(|| absent(name, key, ring));
    equal("unlink", keyctl(9, &[key as usize, ring as usize]), Ok(0))?;
    outcome?;
    inside_without(100, SECURE, || {
        let users = fs::read_to_string("/proc/key-users").map_err(words)?;
        equal("users", users.as_str(), "")
    })?;
    // The spectator sees what the host does.
    inside_without(CONTEXT_SPECTATOR, 0, || {
        equal("ring", user_keyring()?, ring)
    })
}

fn keys_of_contexts() -> Outcome {
    let name = "inner-secret";
    // Each says what it has: the number of a key and of the keyring.
    let own = |context: i32| {
        child(|| {
            enter(context, 0, SECURE).map_err(words)?;
            let key = match request(name, false) {
                Ok(key) => key,
                Err(_) => add(name, USER).map_err(words)?,
            };
            present(name, key)?;
            Ok(format!("{key} {}", user_keyring()?))
        })
    };
    let _one = Sitter::idle(100)?;
    let _two = Sitter::idle(200)?;
    let (one, two) = (own(100)?, own(200)?);
    ensure("the same keys", one != two)?;
    // Who comes later has what is there.
    equal("again", own(100)?, one.clone())?;
    let numbers = |text: &str| -> Result<(i32, i32), String> {
        let (key, ring) = text.split_once(' ').ok_or("no numbers")?;
        Ok((key.parse().map_err(words)?, ring.parse().map_err(words)?))
    };
    let (key, ring) = numbers(&one)?;
    inside_without(200, 0, || {
        equal("read", read(key).map(drop), Err(Errno::ENOKEY))?;
        equal("list", read(ring).map(drop), Err(Errno::ENOKEY))
    })?;
    // The host, with every capability.
    child(|| absent(name, key, ring).map(|()| String::new()))?;
    // A context inside.
    inside_without(100, 0, || {
        present(name, key)?;
        child(|| {
            enter(CONTEXT_NEW, 0, 0).map_err(words)?;
            absent(name, key, ring).map(|()| String::new())
        })
        .map(drop)
    })
}

/// As root of a user namespace the user has another keyring, here as everywhere.
fn namespaces() -> Outcome {
    let name = "host-secret";
    let key = add(name, USER).map_err(words)?;
    let ring = user_keyring()?;
    let outcome = inside_without(100, SECURE, || {
        let outer = user_keyring()?;
        own_user_namespace(CloneFlags::empty())?;
        absent(name, key, ring)?;
        let inner = user_keyring()?;
        ensure("the outer keyring", inner != outer)?;
        let own = add("own", USER).map_err(words)?;
        // The kernel lists keys of users that the namespace has: not the number by which those of a context are counted.
        usable("own", own)?;
        // And in a context inside, still in that namespace.
        child(|| {
            enter(CONTEXT_NEW, 0, 0).map_err(words)?;
            absent("own", own, inner)?;
            Ok(String::new())
        })
        .map(drop)
    });
    equal("unlink", keyctl(9, &[key as usize, ring as usize]), Ok(0))?;
    outcome
}

/// What a process has from before it entered.
fn before() -> Outcome {
    child(|| {
        keyctl(JOIN, &[0]).map_err(words)?;
        let mut keys = Vec::new();
        for (name, ring) in [
            ("of-session", SESSION),
            ("of-process", PROCESS),
            ("of-thread", THREAD),
        ] {
            let key = add(name, ring).map_err(words)?;
            same(name, read(key).map_err(words), name)?;
            let ring = keyctl(GET_KEYRING, &[ring as usize, 0]).map_err(words)?;
            keys.push((name, key, ring));
        }
        // To stay is no way to lose them.
        enter(CONTEXT_STAY, 0, SECURE).map_err(words)?;
        for (name, key, _) in &keys {
            same(name, read(*key).map_err(words), name)?;
        }
        enter(CONTEXT_NEW, 0, SECURE).map_err(words)?;
        for (name, key, ring) in &keys {
            equal(name, read(*key).map(drop), Err(Errno::ENOKEY))?;
            equal(name, read(*ring).map(drop), Err(Errno::ENOKEY))?;
        }
        for ring in [PROCESS, THREAD] {
            let got = keyctl(GET_KEYRING, &[ring as usize, 0]);
            equal("keyring", got.map(drop), Err(Errno::ENOKEY))?;
        }
        // New ones come as they are asked for.
        for ring in [SESSION, PROCESS, THREAD] {
            let key = add("new", ring).map_err(words)?;
            same("new", read(key).map_err(words), "new")?;
        }
        Ok(String::new())
    })
    .map(drop)
}

/// Session keyrings that are joined by a name.
fn names() -> Outcome {
    let join = || {
        // One that is in it joins nothing.
        keyctl(JOIN, &[0]).map_err(words)?;
        let ring = keyctl(JOIN, &[c"backdoor".as_ptr() as usize]).map_err(words)?;
        // All for its user, whoever joins it.
        keyctl(SETPERM, &[ring as usize, 0x3f3f_0000]).map_err(words)?;
        Ok::<_, String>(ring)
    };
    child(|| {
        let here = join()?;
        let again = child(|| Ok(join()?.to_string()))?;
        equal("on the host", again, here.to_string())?;
        for context in [100, 200] {
            inside_without(context, 0, || {
                let inside = join()?;
                ensure("that of the host", inside != here)?;
                let again = child(|| Ok(join()?.to_string()))?;
                equal("inside", again, inside.to_string())
            })?;
        }
        Ok(String::new())
    })
    .map(drop)
}

/// A process may give its session's keyring to its parent; not from inside to the host.
fn parent() -> Outcome {
    let session = || keyctl(GET_KEYRING, &[SESSION as usize, 0]).map_err(words);
    let give = || {
        keyctl(JOIN, &[0]).map_err(words)?;
        Ok::<_, String>(keyctl(TO_PARENT, &[]).map(drop))
    };
    let family = || {
        keyctl(JOIN, &[0]).map_err(words)?;
        let first = session()?;
        child(|| {
            give()?.map_err(words)?;
            Ok(String::new())
        })?;
        ensure("not given", session()? != first)
    };
    child(|| family().map(|()| String::new()))?;
    inside_without(100, SECURE, family)?;
    child(|| {
        keyctl(JOIN, &[0]).map_err(words)?;
        let first = session()?;
        for caps in [SECURE, 0] {
            inside_without(100, caps, || equal("give", give()?, Err(Errno::EPERM)))?;
        }
        equal("session", session()?, first)?;
        Ok(String::new())
    })
    .map(drop)
}

fn persistent() -> Outcome {
    let get = || keyctl(PERSISTENT, &[usize::MAX, PROCESS as usize]).map(drop);
    child(|| {
        get().map_err(words)?;
        Ok(String::new())
    })?;
    inside_both(|| equal("inside", get(), Err(Errno::EOPNOTSUPP)))
}

/// A program of the host that the kernel starts as root when a key is not there.
fn helper() -> Outcome {
    const HELPER: &str = "/sbin/request-key";
    const CALLED: &str = "/tmp/request-key-called";
    fs::write(HELPER, format!("#!/bin/sh\necho $* >> {CALLED}\n")).map_err(words)?;
    fs::set_permissions(HELPER, PermissionsExt::from_mode(0o755)).map_err(words)?;
    let run = || {
        let none = Err(Errno::ENOKEY);
        inside_both(|| equal("inside", request("backdoor:inside", true).map(drop), none))?;
        ensure("called from inside", fs::metadata(CALLED).is_err())?;
        let outside = child(|| {
            equal("outside", request("backdoor:outside", true).map(drop), none)?;
            Ok(String::new())
        });
        outside?;
        let called = fs::read_to_string(CALLED).map_err(|_| "not called from the host")?;
        ensure(&called, called.starts_with("create "))
    };
    let outcome = run();
    let _ = fs::remove_file(HELPER);
    let _ = fs::remove_file(CALLED);
    outcome
}

/// The keyrings of a context's users go with it.
fn ended() -> Outcome {
    let uid = 4711;
    // Those of contexts, by the numbers by which they are counted.
    let users = || {
        let users = fs::read_to_string("/proc/key-users").map_err(words)?;
        let numbers = users
            .lines()
            .filter_map(|user| user.trim_start().split(':').next());
        let numbers = numbers.filter_map(|number| number.parse::<u32>().ok());
        let of_contexts = numbers.filter(|number| *number >= 1 << 31);
        Ok::<_, String>(of_contexts.collect::<std::collections::BTreeSet<_>>())
    };
    let before = users()?;
    let sitter = Sitter::new(300, 0, || {
        setuid(Uid::from_raw(uid)).map_err(words)?;
        add("gone", USER).map(drop).map_err(words)
    })?;
    let new: Vec<u32> = users()?.difference(&before).copied().collect();
    ensure("no keys", !new.is_empty())?;
    drop(sitter);
    until_empty()?;
    for _ in 0..6000 {
        let left = users()?;
        if new.iter().all(|number| !left.contains(number)) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err("its keys are still there".to_string())
}

/// Without a helper a key that is asked for with something for it becomes a negative one, as anywhere; but a keyring that
/// the caller may not write to is refused first.
fn negative() -> Outcome {
    let ask = |ring: i32| {
        let arguments = [
            c"user".as_ptr() as usize,
            c"nowhere".as_ptr() as usize,
            c"callout".as_ptr() as usize,
            ring as usize,
        ];
        call(libc::SYS_request_key, &arguments).map(drop)
    };
    inside_both(|| {
        let ring = keyctl(JOIN, &[0]).map_err(words)?;
        equal("request", ask(SESSION), Err(Errno::ENOKEY))?;
        let mut key = [0i32; 4];
        let arguments = [ring as usize, key.as_mut_ptr() as usize, 16];
        equal("keys in it", keyctl(READ, &arguments), Ok(4))?;
        equal("the key", read(key[0]).map(drop), Err(Errno::ENOKEY))?;
        equal("again", ask(0), Err(Errno::ENOKEY))?;
        // All but writing to it.
        keyctl(SETPERM, &[ring as usize, 0x3b3b_3b3b]).map_err(words)?;
        let arguments = [
            c"user".as_ptr() as usize,
            c"elsewhere".as_ptr() as usize,
            c"callout".as_ptr() as usize,
            ring as usize,
        ];
        let refused = call(libc::SYS_request_key, &arguments).map(drop);
        equal("not to be written", refused, Err(Errno::EACCES))
    })
}
