// SPDX-License-Identifier: GPL-2.0

//! `/dev/vserver`, as far as the probe needs it.

use crate::sys;
use anyhow::{Context, Result};
use std::{fs::File, net::IpAddr};
use vserver_uapi::{
    Address, Addresses, Enter, Info, CONTEXT_NEW, FAMILY_IPV4, FAMILY_IPV6, FEATURE_ADDRESSES,
    FLAG_FAKEINIT, IOC_ENTER, IOC_INFO, IOC_SET_ADDRESSES,
};

/// The device.
pub fn device() -> Result<File> {
    File::open("/dev/vserver").context("/dev/vserver: is the module loaded?")
}

/// What the module says of itself; `None` when it is not there.
pub fn info() -> Option<Info> {
    let mut info = Info::default();
    sys::ioctl(&device().ok()?, IOC_INFO, &mut info).ok()?;
    Some(info)
}

/// Whether there is a module that can confine processes to addresses.
pub fn has_addresses() -> bool {
    info().is_some_and(|info| info.features & FEATURE_ADDRESSES != 0)
}

/// Confines the calling process to addresses.
pub fn confine(addresses: &[IpAddr]) -> Result<()> {
    let list: Vec<Address> = addresses.iter().copied().map(one).collect();
    let mut request = Addresses {
        buffer: list.as_ptr().addr() as u64,
        count: list.len().try_into()?,
        ..Addresses::default()
    };
    sys::ioctl(&device()?, IOC_SET_ADDRESSES, &mut request)
        .context("the process cannot be confined to addresses")
}

fn one(address: IpAddr) -> Address {
    let mut bytes = [0; 16];
    let (family, prefix) = match address {
        IpAddr::V4(v4) => {
            bytes[..4].copy_from_slice(&v4.octets());
            (FAMILY_IPV4, 32)
        }
        IpAddr::V6(v6) => {
            bytes = v6.octets();
            (FAMILY_IPV6, 128)
        }
    };
    Address {
        family,
        prefix,
        address: bytes,
        ..Address::default()
    }
}

/// Moves the calling process into a new context, for good.
pub fn enter_new() -> Result<()> {
    enter_new_by(&device()?)
}

/// The same, as process 1 of it.
pub fn enter_new_as_init() -> Result<()> {
    enter_with(&device()?, FLAG_FAKEINIT)
}

/// As [`enter_new`], by a device that is open already.
pub fn enter_new_by(device: &File) -> Result<()> {
    enter_with(device, 0)
}

fn enter_with(device: &File, flags: u32) -> Result<()> {
    let mut request = Enter {
        context: CONTEXT_NEW,
        flags,
        ..Enter::default()
    };
    sys::ioctl(device, IOC_ENTER, &mut request).context("a new context cannot be entered")
}
