// SPDX-License-Identifier: GPL-2.0

//! The addresses themselves: who may set which, and who sees them.

use super::*;
use crate::{
    fixture::{address, addresses_of, confine_to, ensure, inside},
    test,
};
use nix::unistd::{setuid, Uid};

pub const ONCE: Test = test("inet::addresses_are_set_once", 20, once);
pub const MALFORMED: Test = test("inet::malformed_addresses", 20, malformed);
pub const SHOWN: Test = test("inet::addresses_are_shown", 20, shown);
pub const ROOT: Test = test("inet::root_sets_addresses_anew", 20, root);

/// By anybody, and afterwards only fewer.
fn once() -> Outcome {
    inside(CONTEXT_ROOT, || {
        setuid(Uid::from_raw(1000)).map_err(words)?;
        let all = ["10.77.0.5", "10.77.0.6", "10.78.0.0/16!", "fd77::5"];
        let loopback = confine(&all).map_err(words)?.loopback;
        ensure(
            "a loopback of its own",
            loopback[0] == 127 && loopback[1] != 0,
        )?;
        for wider in [
            &["10.77.0.7"][..],
            &["10.77.0.5", "10.77.0.7"],
            &["10.0.0.0/8!"],
            &["fd77::6"],
            &["127.0.0.1"],
        ] {
            equal(
                &format!("{wider:?}"),
                confine(wider).map(drop),
                Err(Errno::EPERM),
            )?;
        }
        equal(
            "all still there",
            addresses_of(0).map_err(words)?.1.len(),
            4,
        )?;
        let fewer = confine(&["10.78.3.0/24!", "10.77.0.6"]).map_err(words)?;
        equal("the same loopback", fewer.loopback, loopback)?;
        confine(&["10.78.3.4"]).map_err(words)?;
        let lost = confine(&["10.77.0.6"]).map(drop);
        equal("what was given up", lost, Err(Errno::EPERM))?;
        let free = confine(&[]).map(drop);
        equal("free again", free, Err(Errno::EINVAL))
    })
}

fn malformed() -> Outcome {
    inside(CONTEXT_ROOT, || {
        let good = address(A);
        let refused = |what: &str, bad: Address| {
            equal(
                what,
                confine_to(&[good, bad], Addresses::default()).map(drop),
                Err(Errno::EINVAL),
            )
        };
        refused("family 0", Address { family: 0, ..good })?;
        refused("unix", Address { family: 1, ..good })?;
        refused("33 bits", Address { prefix: 33, ..good })?;
        refused("unknown flag", Address { flags: 2, ..good })?;
        refused(
            "reserved",
            Address {
                reserved: 1,
                ..good
            },
        )?;
        refused("unspecified", address("0.0.0.0"))?;
        refused("multicast", address("224.0.0.1"))?;
        refused("everything", address("0.0.0.0/0!"))?;
        refused("bits behind the prefix", address("10.77.0.5/24!"))?;
        refused("IPv6: unspecified", address("::"))?;
        refused("IPv6: multicast", address("ff02::1"))?;
        refused("IPv6: mapped", address("::ffff:10.77.0.5"))?;
        let mut long = good;
        long.address[4] = 1;
        refused("a fifth byte", long)?;

        let with = |what: &str, request: Addresses| {
            equal(
                what,
                confine_to(&[good], request).map(drop),
                Err(Errno::EINVAL),
            )
        };
        let none = Addresses::default();
        with("a pid", Addresses { pid: 1, ..none })?;
        with(
            "multicast broadcast",
            Addresses {
                broadcast: [224, 0, 0, 1],
                ..none
            },
        )?;
        with(
            "a loopback",
            Addresses {
                loopback: [127, 0, 0, 1],
                ..none
            },
        )?;
        with(
            "reserved",
            Addresses {
                reserved: [0, 0, 1],
                ..none
            },
        )?;
        let many = vec![good; ADDRESSES_MAX as usize + 1];
        equal(
            "too many",
            confine_to(&many, none).map(drop),
            Err(Errno::EINVAL),
        )?;

        let device = crate::fixture::device()?;
        let mut request = Addresses {
            buffer: 8,
            count: 1,
            ..none
        };
        let got = crate::syscalls::ioctl(&device, IOC_SET_ADDRESSES, &mut request);
        equal("unreadable", got, Err(Errno::EFAULT))?;
        let threads = std::thread::spawn(|| std::thread::sleep(Duration::from_millis(300)));
        equal("two threads", confine(&[A]).map(drop), Err(Errno::EINVAL))?;
        let _ = threads.join();
        equal(
            "nothing has changed",
            addresses_of(0).map_err(words)?.0.count,
            0,
        )?;
        // The kernel counts a thread a little longer than those who wait for it.
        let alone = || confine_to(&many[1..], none).map(drop);
        let late = (0..6000).find_map(|_| match alone() {
            Err(Errno::EINVAL) => {
                std::thread::sleep(Duration::from_millis(10));
                None
            }
            other => Some(other),
        });
        equal("as many as there may be", late, Some(Ok(())))
    })
}

fn shown() -> Outcome {
    let sitter = server(100, &["10.77.0.5/24", "fd77::5/64"], || Ok(()))?;
    let request = Addresses {
        broadcast: [10, 77, 0, 255],
        ..Addresses::default()
    };
    inside(CONTEXT_ROOT, || {
        equal(
            "host",
            addresses_of(sitter.pid).map(drop),
            Err(Errno::ESRCH),
        )?;
        equal("own", addresses_of(0).map_err(words)?.0.count, 0)
    })?;
    inside(CONTEXT_SPECTATOR, || {
        let (told, list) = addresses_of(sitter.pid).map_err(words)?;
        equal(
            "addresses",
            list,
            vec![address("10.77.0.5/24"), address("fd77::5/64")],
        )?;
        equal("broadcast", told.broadcast, [0; 4])?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", sitter.pid));
        let status = status.map_err(words)?;
        ensure(
            &status,
            status.contains("\nipv4root: 10.77.0.5/24 fd77::5/64\nipv4root_bcast: 0\n"),
        )
    })?;
    inside(CONTEXT_ROOT, || {
        confine_to(&[address("10.77.0.5/24")], request).map_err(words)?;
        let status = std::fs::read_to_string("/proc/self/status").map_err(words)?;
        ensure(
            &status,
            status.contains("\nipv4root: 10.77.0.5/24\nipv4root_bcast: 10.77.0.255\n"),
        )?;
        // Its children have them too.
        let inherited = child(|| Ok(addresses_of(0).map_err(words)?.0.count.to_string()))?;
        equal("inherited", inherited.as_str(), "1")
    })
}

/// Root in context 0 is asked nothing; root in a context is like anybody.
fn root() -> Outcome {
    inside(CONTEXT_ROOT, || {
        confine(&[A]).map_err(words)?;
        confine(&[B]).map_err(words)?;
        confine(&[]).map_err(words)?;
        equal("free", addresses_of(0).map_err(words)?.0.count, 0)?;
        confine(&[A]).map_err(words)?;
        enter(100, 0, 0).map_err(words)?;
        equal("inside", confine(&[B]).map(drop), Err(Errno::EPERM))?;
        equal("inside, free", confine(&[]).map(drop), Err(Errno::EINVAL))
    })?;
    // Who joins a context gets what it has, by whatever way he comes.
    let _sitter = server(100, &[A], || Ok(()))?;
    for own in [&[][..], &[B]] {
        inside(CONTEXT_ROOT, || {
            if !own.is_empty() {
                confine(own).map_err(words)?;
            }
            enter(100, 0, 0).map_err(words)?;
            equal(
                "joined",
                addresses_of(0).map_err(words)?.1,
                vec![address(A)],
            )
        })?;
    }
    Ok(())
}
