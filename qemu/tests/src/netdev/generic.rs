// SPDX-License-Identifier: GPL-2.0

//! Generic netlink.

use super::*;

pub const FAMILIES: Test = test("netdev::generic_netlink", 60, generic_netlink);

/// An attribute of netlink.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

const CTRL: u16 = 16;
const GETFAMILY: u8 = 3;
const GETPOLICY: u8 = 10;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// What the kernel answers to a question: messages, or an error.
fn ask_family(family: u16, flags: i32, command: u8, body: &[u8]) -> Result<Vec<Vec<u8>>, i32> {
    let broken = |_: String| -1;
    let netlink = Netlink::open(libc::NETLINK_GENERIC, 0).map_err(broken)?;
    let body = [&[command, 1, 0, 0], body].concat();
    netlink.send(family, flags as u16, &body).map_err(broken)?;
    let mut found = Vec::new();
    loop {
        for (kind, body) in netlink.receive().map_err(|errno| errno as i32)? {
            match kind {
                // NLMSG_ERROR
                2 => return Err(-(word(&body, 0) as i32)),
                // NLMSG_DONE: with an error or zero.
                3 => {
                    return match word(&body, 0) as i32 {
                        0 => Ok(found),
                        error => Err(-error),
                    }
                }
                _ => found.push(body),
            }
        }
        if flags & libc::NLM_F_DUMP == 0 {
            return Ok(found);
        }
    }
}

/// The attribute of a message of the family of families.
fn value(message: &[u8], kind: u16) -> Vec<u8> {
    let mut rest = &message[4..];
    while rest.len() > 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        if u16::from_ne_bytes([rest[2], rest[3]]) == kind {
            return rest[4..length].to_vec();
        }
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    Vec::new()
}

/// The names and numbers of all families.
fn families() -> Result<Vec<(String, u16)>, String> {
    let list = ask_family(CTRL, libc::NLM_F_DUMP, GETFAMILY, &[]).map_err(words)?;
    Ok(list
        .iter()
        .map(|message| {
            let name = value(message, FAMILY_NAME);
            let number = value(message, FAMILY_ID);
            (
                String::from_utf8_lossy(&name)
                    .trim_end_matches('\0')
                    .to_string(),
                u16::from_ne_bytes([number[0], number[1]]),
            )
        })
        .collect())
}

fn generic_netlink() -> Outcome {
    let join = |group: u32| {
        let netlink = Netlink::open(libc::NETLINK_GENERIC, 0)?;
        // SOL_NETLINK, NETLINK_ADD_MEMBERSHIP
        Ok::<_, String>(set_option(&netlink.0, 270, 1, &[group]))
    };
    let by_name = |name: &str| {
        let attribute = attribute(FAMILY_NAME, format!("{name}\0").as_bytes());
        ask_family(CTRL, 0, GETFAMILY, &attribute).map(drop)
    };
    let by_number = |number: u16| {
        let attribute = attribute(FAMILY_ID, &number.to_ne_bytes());
        ask_family(CTRL, 0, GETFAMILY, &attribute).map(drop)
    };
    let policy = |number: u16| {
        let attribute = attribute(FAMILY_ID, &number.to_ne_bytes());
        ask_family(CTRL, libc::NLM_F_DUMP, GETPOLICY, &attribute).map(drop)
    };
    let all = families()?;
    for name in ["nlctrl", "tcp_metrics", "netdev"] {
        ensure(
            &format!("{name} of {all:?}"),
            all.iter().any(|one| one.0 == name),
        )?;
        equal(name, by_name(name), Ok(()))?;
    }
    equal("the news of families", join(16)?, Ok(()))?;
    let absent = Err(libc::ENOENT);
    within(|| {
        equal("listed", families()?, vec![("nlctrl".to_string(), CTRL)])?;
        equal("by name", by_name("nlctrl"), Ok(()))?;
        equal("by number", by_number(CTRL), Ok(()))?;
        equal("policy", policy(CTRL), Ok(()))?;
        for (name, number) in &all {
            if *number == CTRL {
                continue;
            }
            equal(name, by_name(name), absent)?;
            equal(name, by_number(*number), absent)?;
            equal(name, policy(*number), absent)?;
            for flags in [0, libc::NLM_F_DUMP] {
                equal(name, ask_family(*number, flags, 1, &[]).map(drop), absent)?;
            }
        }
        equal("none such", by_name("none-such"), absent)?;
        for group in 16..24 {
            equal("news", join(group)?, Err(nix::errno::Errno::EPERM))?;
        }
        let bound = Netlink::open(libc::NETLINK_GENERIC, 1 << 15).map(drop);
        ensure("news by bind", bound.is_err())
    })?;
    // A network namespace that it has made is its own.
    child(|| {
        confine(&["10.76.0.5"]).map_err(words)?;
        enter(100, 0, 0).map_err(words)?;
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).map_err(words)?;
        let found = families()?;
        ensure(&format!("{found:?}"), found.len() > 1)?;
        Ok(String::new())
    })?;
    equal("the host's", families()?, all)
}
