// SPDX-License-Identifier: GPL-2.0

//! Messages between our own processes: a value as JSON, and descriptors, over a socket that keeps their
//! limits (`SOCK_SEQPACKET`).

use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use serde::de::DeserializeOwned;
use serde::Serialize;
use std::io;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// No message is longer.
const SIZE_MAX: usize = 1 << 16;

/// No message has more descriptors.
const DESCRIPTORS_MAX: usize = 5;

/// Two ends; both close when another program starts.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends a value and descriptors.
pub(crate) fn send(
    socket: impl AsFd,
    value: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let text = serde_json::to_vec(value)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let sent = rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&text)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    if sent < text.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

/// Waits for a value; `None`: the other end is closed.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    receive_with(socket, RecvFlags::empty())
}

/// The same, when it has been sent already.
pub(crate) fn receive_now<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    receive_with(socket, RecvFlags::DONTWAIT)
}

fn receive_with<T: DeserializeOwned>(
    socket: impl AsFd,
    flags: RecvFlags,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut text = vec![0; SIZE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut room = [IoSliceMut::new(&mut text)];
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(&socket, &mut room, &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?,
        }
    };
    let descriptors = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    let value = serde_json::from_slice(&text[..received.bytes])?;
    Ok(Some((value, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    #[test]
    fn values_and_descriptors() {
        let (one, two) = pair().unwrap();
        let file = File::open("/proc/self/stat").unwrap();
        send(&one, &vec!["a", "b"], &[file.as_fd()]).unwrap();
        send(&one, &7, &[]).unwrap();
        let (words, mut descriptors) = receive::<Vec<String>>(&two).unwrap().unwrap();
        assert_eq!(words, ["a", "b"]);
        let mut text = String::new();
        File::from(descriptors.pop().unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert!(!text.is_empty() && descriptors.is_empty());
        assert_eq!(receive::<i32>(&two).unwrap().unwrap().0, 7);
        drop(one);
        assert!(receive::<i32>(&two).unwrap().is_none());
    }
}
