// SPDX-License-Identifier: GPL-2.0

//! The ioctls of the device. Beside `syscall.rs` the only file of userland that has `unsafe`.
//!
//! Every function takes the structure that the ABI pairs with the number, so that a caller cannot
//! get the size wrong. The assertions tie nix's idea of the numbers to the ABI's.

#![allow(unsafe_code)]

use nix::errno::Errno;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use vserver_uapi as uapi;

mod raw {
    use vserver_uapi::{
        Addresses, Enter, Get, Info, List, ListHooks, Open, Signal, Status, IOC_TYPE,
    };

    nix::ioctl_read!(info, IOC_TYPE, 0, Info);
    nix::ioctl_readwrite!(enter, IOC_TYPE, 1, Enter);
    nix::ioctl_readwrite!(get, IOC_TYPE, 2, Get);
    nix::ioctl_readwrite!(list, IOC_TYPE, 3, List);
    nix::ioctl_readwrite!(open, IOC_TYPE, 4, Open);
    nix::ioctl_readwrite!(set_addresses, IOC_TYPE, 5, Addresses);
    nix::ioctl_readwrite!(get_addresses, IOC_TYPE, 6, Addresses);
    nix::ioctl_readwrite!(signal, IOC_TYPE, 7, Signal);
    nix::ioctl_read!(status, IOC_TYPE, 8, Status);
    nix::ioctl_readwrite!(list_hooks, IOC_TYPE, 9, ListHooks);
}

const _: () = {
    use nix::{request_code_read as read, request_code_readwrite as readwrite};
    use uapi::IOC_TYPE as TYPE;
    assert!(read!(TYPE, 0, size_of::<uapi::Info>()) as u32 == uapi::IOC_INFO);
    assert!(readwrite!(TYPE, 1, size_of::<uapi::Enter>()) as u32 == uapi::IOC_ENTER);
    assert!(readwrite!(TYPE, 2, size_of::<uapi::Get>()) as u32 == uapi::IOC_GET);
    assert!(readwrite!(TYPE, 3, size_of::<uapi::List>()) as u32 == uapi::IOC_LIST);
    assert!(readwrite!(TYPE, 4, size_of::<uapi::Open>()) as u32 == uapi::IOC_OPEN);
    assert!(readwrite!(TYPE, 5, size_of::<uapi::Addresses>()) as u32 == uapi::IOC_SET_ADDRESSES);
    assert!(readwrite!(TYPE, 6, size_of::<uapi::Addresses>()) as u32 == uapi::IOC_GET_ADDRESSES);
    assert!(readwrite!(TYPE, 7, size_of::<uapi::Signal>()) as u32 == uapi::IOC_SIGNAL);
    assert!(read!(TYPE, 8, size_of::<uapi::Status>()) as u32 == uapi::IOC_STATUS);
    assert!(readwrite!(TYPE, 9, size_of::<uapi::ListHooks>()) as u32 == uapi::IOC_LIST_HOOKS);
};

/// `IOC_INFO`.
pub(crate) fn info(device: impl AsFd) -> Result<uapi::Info, Errno> {
    let mut argument = uapi::Info::default();
    // SAFETY: `argument` is a live, writable `Info`, the structure of this number; every bit
    // pattern is valid for it.
    unsafe { raw::info(device.as_fd().as_raw_fd(), &raw mut argument) }?;
    Ok(argument)
}

/// `IOC_ENTER`. The second value is the context fd, when `ENTER_OPEN_FD` was asked for.
pub(crate) fn enter(
    device: impl AsFd,
    mut argument: uapi::Enter,
) -> Result<(uapi::Enter, Option<OwnedFd>), Errno> {
    // SAFETY: `argument` is a live, writable `Enter`, the structure of this number; it holds no
    // address.
    unsafe { raw::enter(device.as_fd().as_raw_fd(), &raw mut argument) }?;
    let wanted = argument.options & uapi::ENTER_OPEN_FD != 0;
    let fd = (wanted && argument.fd >= 0).then(|| {
        // SAFETY: the kernel has just installed this descriptor for us, and nobody else knows of
        // it.
        unsafe { OwnedFd::from_raw_fd(argument.fd) }
    });
    Ok((argument, fd))
}

/// `IOC_GET`.
pub(crate) fn get(device: impl AsFd, pid: i32) -> Result<uapi::ContextInfo, Errno> {
    let mut argument = uapi::Get {
        pid,
        ..Default::default()
    };
    // SAFETY: `argument` is a live, writable `Get`, the structure of this number; it holds no
    // address.
    unsafe { raw::get(device.as_fd().as_raw_fd(), &raw mut argument) }?;
    Ok(argument.info)
}

/// `IOC_LIST`: fills `buffer` with contexts numbered higher than `after`; returns how many, and the
/// next `after`.
pub(crate) fn list(
    device: impl AsFd,
    after: i32,
    buffer: &mut [uapi::ContextInfo],
) -> Result<(usize, i32), Errno> {
    let mut argument = uapi::List {
        buffer: buffer.as_mut_ptr() as usize as u64,
        count: u32::try_from(buffer.len()).map_err(|_| Errno::EINVAL)?,
        after,
        ..Default::default()
    };
    // SAFETY: `argument` is a live, writable `List`. The address in it is that of `buffer`, which
    // is borrowed mutably for the call and has `count` elements of the type that the kernel writes;
    // every bit pattern is valid for it.
    unsafe { raw::list(device.as_fd().as_raw_fd(), &raw mut argument) }?;
    Ok(((argument.count as usize).min(buffer.len()), argument.after))
}

/// `IOC_OPEN`.
pub(crate) fn open(device: impl AsFd, context: i32) -> Result<OwnedFd, Errno> {
    let mut argument = uapi::Open {
        context,
        ..Default::default()
    };
    // SAFETY: `argument` is a live, writable `Open`, the structure of this number; it holds no
    // address.
    unsafe { raw::open(device.as_fd().as_raw_fd(), &raw mut argument) }?;
    if argument.fd < 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: the kernel has just installed this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(argument.fd) })
}

/// `IOC_SET_ADDRESSES`.
pub(crate) fn set_addresses(
    device: impl AsFd,
    addresses: &[uapi::Address],
    broadcast: [u8; 4],
) -> Result<uapi::Addresses, Errno> {
    let mut argument = uapi::Addresses {
        buffer: addresses.as_ptr() as usize as u64,
        count: u32::try_from(addresses.len()).map_err(|_| Errno::EINVAL)?,
        broadcast,
        ..Default::default()
    };
    // SAFETY: `argument` is a live, writable `Addresses`, the structure of this number. The address
    // in it is that of `addresses`, which is borrowed for the call and has `count` elements; the
    // kernel only reads them.
    unsafe { raw::set_addresses(device.as_fd().as_raw_fd(), &raw mut argument) }?;
    Ok(argument)
}

/// `IOC_GET_ADDRESSES`: fills `buffer` as far as there is room.
pub(crate) fn get_addresses(
    device: impl AsFd,
    pid: i32,
    buffer: &mut [uapi::Address],
) -> Result<uapi::Addresses, Errno> {
    let mut argument = uapi::Addresses {
        buffer: buffer.as_mut_ptr() as usize as u64,
        count: u32::try_from(buffer.len()).map_err(|_| Errno::EINVAL)?,
        pid,
        ..Default::default()
    };
    // SAFETY: `argument` is a live, writable `Addresses`, the structure of this number. The address
    // in it is that of `buffer`, which is borrowed mutably for the call and has `count` elements of
    // the type that the kernel writes; every bit pattern is valid for it.
    unsafe { raw::get_addresses(device.as_fd().as_raw_fd(), &raw mut argument) }?;
    Ok(argument)
}

/// `IOC_SIGNAL`: how many processes it was sent to.
pub(crate) fn signal(device: impl AsFd, context: i32, pid: i32, number: u32) -> Result<u32, Errno> {
    let mut argument = uapi::Signal {
        context,
        pid,
        signal: number,
        ..Default::default()
    };
    // SAFETY: `argument` is a live, writable `Signal`, the structure of this number; it holds no
    // address.
    unsafe { raw::signal(device.as_fd().as_raw_fd(), &raw mut argument) }?;
    Ok(argument.processes)
}

/// `IOC_STATUS`, of a context fd.
pub(crate) fn status(context: impl AsFd) -> Result<uapi::Status, Errno> {
    let mut argument = uapi::Status::default();
    // SAFETY: `argument` is a live, writable `Status`, the structure of this number; every bit
    // pattern is valid for it.
    unsafe { raw::status(context.as_fd().as_raw_fd(), &raw mut argument) }?;
    Ok(argument)
}

/// `IOC_LIST_HOOKS`: fills `buffer` with the hooks behind the first `skip`; returns how many.
pub(crate) fn list_hooks(
    device: impl AsFd,
    skip: u32,
    buffer: &mut [uapi::HookInfo],
) -> Result<usize, Errno> {
    let mut argument = uapi::ListHooks {
        buffer: buffer.as_mut_ptr() as usize as u64,
        count: u32::try_from(buffer.len()).map_err(|_| Errno::EINVAL)?,
        skip,
        ..Default::default()
    };
    // SAFETY: `argument` is a live, writable `ListHooks`. The address in it is that of `buffer`, which is borrowed mutably for
    // the call and has `count` elements of the type that the kernel writes; every bit pattern is valid for it.
    unsafe { raw::list_hooks(device.as_fd().as_raw_fd(), &raw mut argument) }?;
    Ok((argument.count as usize).min(buffer.len()))
}
