// SPDX-License-Identifier: GPL-2.0

//! A pipe whose content goes on to a virtio port.

use anyhow::Result;
use nix::{
    errno::Errno,
    fcntl::{fcntl, FcntlArg, OFlag},
    poll::{poll, PollFd, PollFlags, PollTimeout},
    unistd::{pipe2, read},
};
use std::{
    fs::File,
    io::Write,
    os::fd::{AsFd, OwnedFd},
    thread::{self, JoinHandle},
};

/// Copies until every writer has gone, or [`Relay::finish`] and nothing is left.
pub struct Relay {
    thread: JoinHandle<Result<()>>,
    over: OwnedFd,
}

impl Relay {
    /// The second value is where to write.
    pub fn new(port: File) -> Result<(OwnedFd, Self)> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let (told, over) = pipe2(OFlag::O_CLOEXEC)?;
        let thread = thread::spawn(move || copy(&reader, &told, port));
        Ok((writer, Self { thread, over }))
    }

    /// The command has ended: something that it left in the background is not waited for.
    pub fn finish(self) -> Result<()> {
        drop(self.over);
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("a relay panicked"))?
    }
}

fn copy(reader: &OwnedFd, told: &OwnedFd, mut port: File) -> Result<()> {
    let mut room = vec![0; 1 << 16];
    loop {
        let mut waits = [
            PollFd::new(reader.as_fd(), PollFlags::POLLIN),
            PollFd::new(told.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waits, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let over = waits[1].any().unwrap_or(false);
        loop {
            match read(reader, &mut room) {
                Ok(0) => return Ok(()),
                Ok(count) => port.write_all(&room[..count])?,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if over {
            return Ok(());
        }
    }
}
