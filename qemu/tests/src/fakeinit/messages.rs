// SPDX-License-Identifier: GPL-2.0

//! The number of process 1 in what is sent: signals, messages, credentials.

use super::{as_both, as_spectator, expect_success, in_child, named, sleeper, spawn};
use crate::{
    fixture::{ensure, enter, equal, words, Outcome, Sitter},
    syscalls::own,
    test,
    visibility::call,
    Test,
};
use nix::{
    errno::Errno,
    fcntl::{fcntl, FcntlArg, OFlag},
    sys::{
        signal::{kill, SigSet, Signal},
        socket::{
            accept, bind, connect, getsockopt, listen, recvmsg, sendmsg, setsockopt, socket,
            socketpair, sockopt, AddressFamily, Backlog, ControlMessage, ControlMessageOwned,
            MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials,
        },
        wait::{waitpid, WaitStatus},
    },
    unistd::{pipe, write},
};
use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd, OwnedFd},
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::who_sent_a_signal", 60, signals),
    test("fakeinit::who_ended", 60, ended),
    test("fakeinit::who_ended_outside", 60, ended_outside),
    test("fakeinit::owner_of_a_file", 60, owner),
    test("fakeinit::credentials", 60, credentials),
    test("fakeinit::peers_of_sockets", 60, peers),
    test("fakeinit::credentials_outside", 60, credentials_outside),
    test("fakeinit::message_queue", 60, queue),
];

/// Waits for a signal that is blocked: its code and the number of its sender.
fn received(signal: Signal) -> Result<(i32, i32), Errno> {
    let mut set = 1u64 << (signal as u32 - 1);
    let mut info = [0i32; 32];
    // Not for ever, if it is never sent.
    let time = [30i64, 0];
    let arguments = [
        (&raw mut set) as usize,
        info.as_mut_ptr() as usize,
        time.as_ptr() as usize,
        size_of::<u64>(),
    ];
    call(libc::SYS_rt_sigtimedwait, &arguments)?;
    Ok((info[2], info[4]))
}

pub fn sender(signal: Signal) -> Result<i32, Errno> {
    received(signal).map(|(_, pid)| pid)
}

pub fn block(signal: Signal) -> Outcome {
    let mut set = SigSet::empty();
    set.add(signal);
    set.thread_block().map_err(words)
}

/// In both directions, by each call.
fn signals() -> Outcome {
    const SI_USER: i32 = 0;
    const SI_TKILL: i32 = -6;
    let ways: [(i64, usize, i32); 3] = [
        (libc::SYS_kill, 1, SI_USER),
        (libc::SYS_tkill, 1, SI_TKILL),
        (libc::SYS_tgkill, 2, SI_TKILL),
    ];
    as_both(|who| {
        block(Signal::SIGUSR1)?;
        let number = Signal::SIGUSR1 as usize;
        for (system_call, times, code) in ways {
            let send = |pid: i32| {
                let mut arguments = vec![pid as usize; times];
                arguments.push(number);
                call(system_call, &arguments)
            };
            let child = spawn(|| i32::from(received(Signal::SIGUSR1) != Ok((code, who.number))))?;
            named("to the child", send(child.as_raw()))?;
            expect_success(child).map_err(|text| format!("to a child: {text}"))?;
            let child = spawn(|| i32::from(send(who.number).is_err()))?;
            let got = received(Signal::SIGUSR1);
            equal("from a child", got, Ok((code, child.as_raw())))?;
            expect_success(child)?;
        }
        // Of its own.
        named("itself", kill(who.pid(), Signal::SIGUSR1))?;
        equal("its own", sender(Signal::SIGUSR1), Ok(who.number))?;
        // Between two children it is not about it.
        let receiver = spawn(|| i32::from(sender(Signal::SIGUSR1).is_ok_and(|pid| pid <= 1)))?;
        in_child(|| named("a sibling", kill(receiver, Signal::SIGUSR1)))?;
        expect_success(receiver)
    })
}

/// Who a SIGCHLD is about: the child that stops, goes on, ends.
fn ended() -> Outcome {
    const CLD_EXITED: i32 = 1;
    const CLD_KILLED: i32 = 2;
    const CLD_STOPPED: i32 = 5;
    as_both(|_| {
        block(Signal::SIGCHLD)?;
        let told = || received(Signal::SIGCHLD);
        let child = spawn(|| 0)?;
        let number = child.as_raw();
        equal("its end", told(), Ok((CLD_EXITED, number)))?;
        expect_success(child)?;
        let child = sleeper()?;
        let number = child.as_raw();
        named("stop", kill(child, Signal::SIGSTOP))?;
        equal("stopped", told(), Ok((CLD_STOPPED, number)))?;
        named("kill", kill(child, Signal::SIGKILL))?;
        equal("killed", told(), Ok((CLD_KILLED, number)))?;
        waitpid(child, None).map(drop).map_err(words)
    })
}

/// Outside its number is the machine's, in all that tells of its end.
fn ended_outside() -> Outcome {
    in_child(|| {
        block(Signal::SIGCHLD)?;
        for flags in [FLAG_FAKEINIT, 0] {
            let init = spawn(|| i32::from(enter(CONTEXT_NEW, flags, 0).is_err()))?;
            equal("SIGCHLD", sender(Signal::SIGCHLD), Ok(init.as_raw()))?;
            let ended = waitpid(init, None);
            equal("waitpid", ended, Ok(WaitStatus::Exited(init, 0)))?;
        }
        Ok(())
    })
}

fn owner() -> Outcome {
    const F_SETOWN: usize = 8;
    const F_GETOWN: usize = 9;
    const F_SETOWN_EX: usize = 15;
    const F_GETOWN_EX: usize = 16;
    const F_OWNER_PID: i32 = 1;
    as_both(|who| {
        block(Signal::SIGIO)?;
        let (reader, writer) = pipe().map_err(words)?;
        let fd = reader.as_raw_fd() as usize;
        let own = |command: usize, argument: usize| call(libc::SYS_fcntl, &[fd, command, argument]);
        if who.is_init() {
            let real = own(F_SETOWN, who.real as usize);
            equal("the real number", real, Err(Errno::ESRCH))?;
            let real = [F_OWNER_PID, who.real];
            let real = own(F_SETOWN_EX, real.as_ptr() as usize);
            equal("the real number, extended", real, Err(Errno::ESRCH))?;
            equal("nobody", own(F_GETOWN, 0), Ok(0))?;
        }
        named("F_SETOWN", own(F_SETOWN, who.number as usize))?;
        equal("F_GETOWN", own(F_GETOWN, 0), Ok(i64::from(who.number)))?;
        let mut found = [0i32; 2];
        named("F_GETOWN_EX", own(F_GETOWN_EX, found.as_mut_ptr() as usize))?;
        equal("F_GETOWN_EX", found, [F_OWNER_PID, who.number])?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_ASYNC)).map_err(words)?;
        in_child(|| {
            let seen = own(F_GETOWN, 0);
            equal("as a child sees it", seen, Ok(i64::from(who.number)))?;
            write(&writer, b"x").map(drop).map_err(words)
        })?;
        named("SIGIO", received(Signal::SIGIO)).map(drop)
    })
}

fn pair() -> Result<(OwnedFd, OwnedFd), String> {
    let flags = SockFlag::empty();
    let (one, two) =
        socketpair(AddressFamily::Unix, SockType::Datagram, None, flags).map_err(words)?;
    setsockopt(&two, sockopt::PassCred, &true).map_err(words)?;
    Ok((one, two))
}

/// Sends a word, with credentials when there is a number for them.
fn send(socket: &OwnedFd, pid: Option<i32>) -> Result<usize, Errno> {
    let said = pid.map(|pid| {
        let (uid, gid) = (0, 0);
        UnixCredentials::from(libc::ucred { pid, uid, gid })
    });
    let control: Vec<_> = said.iter().map(ControlMessage::ScmCredentials).collect();
    let bytes = [IoSlice::new(b"x")];
    let flags = MsgFlags::empty();
    sendmsg::<()>(socket.as_raw_fd(), &bytes, &control, flags, None)
}

/// Who sent the next word.
fn said(socket: &OwnedFd) -> Result<Option<i32>, String> {
    let mut room = [0];
    let mut bytes = [IoSliceMut::new(&mut room)];
    let mut space = nix::cmsg_space!(UnixCredentials);
    let flags = MsgFlags::empty();
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut bytes, Some(&mut space), flags);
    let message = message.map_err(words)?;
    let mut messages = message.cmsgs().map_err(words)?;
    Ok(messages.find_map(|message| match message {
        ControlMessageOwned::ScmCredentials(told) => Some(told.pid()),
        _ => None,
    }))
}

fn credentials() -> Outcome {
    as_both(|who| {
        let (one, two) = pair()?;
        if who.is_init() {
            let real = send(&one, Some(who.real));
            equal("as the real number", real, Err(Errno::ESRCH))?;
        }
        named("as itself", send(&one, Some(who.number)))?;
        named("without any", send(&one, None))?;
        in_child(|| {
            equal("SCM_CREDENTIALS", said(&two)?, Some(who.number))?;
            equal("added by the kernel", said(&two)?, Some(who.number))?;
            let peer = getsockopt(&two, sockopt::PeerCredentials).map_err(words)?;
            equal("SO_PEERCRED", peer.pid(), who.number)
        })?;
        let child = spawn(|| i32::from(send(&one, None).is_err()))?;
        equal("a child's", said(&two)?, Some(child.as_raw()))?;
        expect_success(child)
    })
}

/// Who listens and who connects, on a socket in the file system.
fn peers() -> Outcome {
    as_both(|who| {
        let path = format!("/tmp/peers-{}", who.real);
        let address = UnixAddr::new(path.as_str()).map_err(words)?;
        let stream = || {
            let flags = SockFlag::empty();
            named(
                "socket",
                socket(AddressFamily::Unix, SockType::Stream, flags, None),
            )
        };
        let peer = |socket: &OwnedFd| {
            let told = getsockopt(socket, sockopt::PeerCredentials);
            named("SO_PEERCRED", told).map(|told| told.pid())
        };
        let server = stream()?;
        named("bind", bind(server.as_raw_fd(), &address))?;
        let backlog = Backlog::new(5).map_err(words)?;
        named("listen", listen(&server, backlog))?;
        let client = spawn(|| {
            let run = || {
                let client = stream()?;
                named("connect", connect(client.as_raw_fd(), &address))?;
                equal("who listens", peer(&client)?, who.number)
            };
            i32::from(run().is_err())
        })?;
        let accepted = own(named("accept", accept(server.as_raw_fd()))?);
        equal("a child connects", peer(&accepted)?, client.as_raw())?;
        expect_success(client).map_err(|text| format!("who listens: {text}"))?;
        let client = stream()?;
        named("connect", connect(client.as_raw_fd(), &address))?;
        in_child(|| {
            let accepted = own(named("accept", accept(server.as_raw_fd()))?);
            equal("who connects", peer(&accepted)?, who.number)?;
            // A descriptor of that process.
            let (mut fd, mut length) = (0i32, 4u32);
            let option = [
                accepted.as_raw_fd() as usize,
                libc::SOL_SOCKET as usize,
                SO_PEERPIDFD,
                (&raw mut fd) as usize,
                (&raw mut length) as usize,
            ];
            named("SO_PEERPIDFD", call(libc::SYS_getsockopt, &option))?;
            let fd = own(crate::syscalls::read_i32(&raw const fd));
            let info = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
            let info = std::fs::read_to_string(info).map_err(words)?;
            ensure(&info, info.contains(&format!("Pid:\t{}\n", who.number)))
        })?;
        std::fs::remove_file(&path).map_err(words)
    })
}

const SO_PEERPIDFD: usize = 77;

/// The same sockets, read outside: the real number, or none for who does not see it.
fn credentials_outside() -> Outcome {
    for flags in [FLAG_FAKEINIT, 0] {
        let (one, two) = pair()?;
        let init = Sitter::new(CONTEXT_NEW, flags, || {
            named("sent", send(&one, None))?;
            named("sent", send(&one, None)).map(drop)
        })?;
        as_spectator(|| equal("the spectator's", said(&two)?, Some(init.pid)))?;
        let host = said(&two)?;
        ensure(
            &format!("the host's: {host:?}"),
            [Some(init.pid), Some(0)].contains(&host),
        )?;
        // From outside to process 1 there is no sender.
        let host = nix::unistd::getpid().as_raw();
        named("sent", send(&one, None))?;
        crate::fixture::inside(init.context, || {
            let got = said(&two)?;
            ensure(
                &format!("from outside: {got:?}"),
                got == Some(0) || (flags == 0 && got == Some(host)),
            )
        })?;
    }
    Ok(())
}

/// mq_notify(): the signal says who has sent the message.
fn queue() -> Outcome {
    as_both(|who| {
        block(Signal::SIGUSR1)?;
        let flags = (libc::O_RDWR | libc::O_CREAT) as usize;
        let name = c"fakeinit".as_ptr() as usize;
        let queue = named("mq_open", call(libc::SYS_mq_open, &[name, flags, 0o600, 0]))?;
        let queue = own(queue as i32);
        let fd = queue.as_raw_fd() as usize;
        // struct sigevent: the value, the signal, SIGEV_SIGNAL.
        let mut event = [0i32; 16];
        event[2] = Signal::SIGUSR1 as i32;
        let ask = || call(libc::SYS_mq_notify, &[fd, event.as_ptr() as usize]);
        let send = || {
            let word = b"x".as_ptr() as usize;
            call(libc::SYS_mq_timedsend, &[fd, word, 1, 0, 0])
        };
        let drain = || {
            let mut room = [0u64; 1024];
            call(
                libc::SYS_mq_timedreceive,
                &[fd, room.as_mut_ptr() as usize, 8192, 0, 0],
            )
        };
        const SI_MESGQ: i32 = -3;
        named("mq_notify", ask())?;
        let child = spawn(|| i32::from(send().is_err()))?;
        let got = received(Signal::SIGUSR1);
        equal("a child's message", got, Ok((SI_MESGQ, child.as_raw())))?;
        expect_success(child)?;
        named("receive", drain())?;
        let (reader, writer) = pipe().map_err(words)?;
        let child = spawn(|| {
            let asked = ask().is_ok() && write(&writer, b"x").is_ok();
            i32::from(!asked || received(Signal::SIGUSR1) != Ok((SI_MESGQ, who.number)))
        })?;
        nix::unistd::read(&reader, &mut [0]).map_err(words)?;
        named("send", send())?;
        expect_success(child).map_err(|text| format!("its own message: {text}"))
    })
}
