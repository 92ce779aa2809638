// SPDX-License-Identifier: GPL-2.0

//! Network devices, their addresses, and routes of IPv6, as RCU readers see them.

use super::{kernel_types, next_on_list, rcu_dereference, read_once, Net};
use crate::{
    bindings,
    policy::address::{Ip, Set},
};
use core::iter::successors;
use kernel::{ffi::c_int, prelude::*, sync::rcu};

kernel_types! {
    /// A network device.
    NetDevice = net_device;
    /// An address of IPv4 that a device has.
    InetAddress = in_ifaddr;
    /// An address of IPv6 that a device has.
    Inet6Address = inet6_ifaddr;
    /// A route of IPv6.
    Route6 = fib6_info;
    /// The kernel's copy of a program's request about a device.
    DeviceRequest = ifreq;
}

/// How long the name of a device or a label can be, with a NUL.
pub(crate) const DEVICE_NAME: usize = bindings::IFNAMSIZ as usize;

impl Net {
    /// The device of this name.
    pub(crate) fn device<'a>(&self, name: &[u8], _guard: &'a rcu::Guard) -> Option<&'a NetDevice> {
        let mut text = [0; DEVICE_NAME];
        text[..DEVICE_NAME - 1]
            .get_mut(..name.len())?
            .copy_from_slice(name);
        // SAFETY: Valid by the type's invariant. A device stays for a grace period after it cannot be found any more.
        unsafe {
            NetDevice::from_nullable(bindings::dev_get_by_name_rcu(self.as_ptr(), text.as_ptr()))
        }
    }

    /// The device of this number.
    pub(crate) fn device_at<'a>(
        &self,
        index: c_int,
        _guard: &'a rcu::Guard,
    ) -> Option<&'a NetDevice> {
        // SAFETY: As above.
        unsafe { NetDevice::from_nullable(bindings::dev_get_by_index_rcu(self.as_ptr(), index)) }
    }

    /// lo.
    pub(crate) fn loopback_device(&self) -> &NetDevice {
        // SAFETY: A network namespace that is in use has it.
        unsafe { NetDevice::from_ptr(read_once!(self, loopback_dev).cast()) }
    }

    /// All devices.
    pub(crate) fn devices<'a>(
        &'a self,
        _guard: &'a rcu::Guard,
    ) -> impl Iterator<Item = &'a NetDevice> {
        // SAFETY: Valid by the type's invariant.
        let head = unsafe { &raw const (*self.as_ptr()).dev_base_head };
        let behind = move |node| {
            // SAFETY: As above; one that has left the list still leads back into it.
            let node = unsafe { next_on_list(head, node) }?;
            // SAFETY: As above.
            Some(unsafe {
                let device = kernel::container_of!(node, bindings::net_device, dev_list);
                NetDevice::from_ptr(device)
            })
        };
        successors(behind(head), move |device| {
            // SAFETY: Valid by the type's invariant.
            behind(unsafe { &raw const (*device.as_ptr()).dev_list })
        })
    }
}

impl NetDevice {
    fn flags(&self) -> c_uint {
        read_once!(self, flags)
    }

    /// Whether it is lo.
    pub(crate) fn is_loopback(&self) -> bool {
        self.flags() & bindings::net_device_flags_IFF_LOOPBACK != 0
    }

    /// Whether it is up.
    pub(crate) fn is_up(&self) -> bool {
        self.flags() & bindings::net_device_flags_IFF_UP != 0
    }

    /// Whether it can receive groups.
    pub(crate) fn has_multicast(&self) -> bool {
        self.flags() & bindings::net_device_flags_IFF_MULTICAST != 0
    }

    /// Its number.
    pub(crate) fn index(&self) -> c_int {
        read_once!(self, ifindex)
    }

    /// Whether one of these addresses is its.
    pub(crate) fn has_address_of(&self, set: &Set<'_>, guard: &rcu::Guard) -> bool {
        self.addresses(guard)
            .any(|one| set.has(Ip::V4(u32::from_be(one.local()))))
            || self
                .addresses6(guard)
                .any(|one| set.has(Ip::of_v6(one.local())))
    }

    /// Its addresses of IPv4.
    pub(crate) fn addresses<'a>(
        &self,
        _guard: &'a rcu::Guard,
    ) -> impl Iterator<Item = &'a InetAddress> {
        let list = read_once!(self, ip_ptr);
        let first = (!list.is_null()).then(|| {
            // SAFETY: Not null. What a device has of IPv4 stays for a grace period after it has been given up. So does an
            // address after it has left the list, and it still leads back into that.
            unsafe { InetAddress::from_nullable(rcu_dereference!(list, ifa_list)) }
        });
        successors(first.flatten(), |address| {
            // SAFETY: As above.
            unsafe { InetAddress::from_nullable(read_once!(address, ifa_next)) }
        })
    }
}

impl NetDevice {
    /// Its addresses of IPv6.
    pub(crate) fn addresses6<'a>(
        &self,
        _guard: &'a rcu::Guard,
    ) -> impl Iterator<Item = &'a Inet6Address> {
        let of_device = read_once!(self, ip6_ptr);
        let list = (!of_device.is_null()).then(|| {
            // SAFETY: Not null. What a device has of IPv6 stays for a grace period after it has been given up.
            unsafe { &raw const (*of_device).addr_list }
        });
        let behind = move |node| {
            // SAFETY: As above. So do the addresses, which still lead back into the list.
            let node = unsafe { next_on_list(list?, node) }?;
            // SAFETY: As above.
            Some(unsafe {
                let address = kernel::container_of!(node, bindings::inet6_ifaddr, if_list);
                Inet6Address::from_ptr(address)
            })
        };
        successors(list.and_then(behind), move |address| {
            // SAFETY: Valid by the type's invariant.
            behind(unsafe { &raw const (*address.as_ptr()).if_list })
        })
    }
}

impl Inet6Address {
    /// The device's own.
    pub(crate) fn local(&self) -> u128 {
        u128::from_be_bytes(read_once!(self, addr.in6_u.u6_addr8))
    }
}

impl Route6 {
    /// Where it leads to.
    pub(crate) fn destination(&self) -> u128 {
        u128::from_be_bytes(read_once!(self, fib6_dst.addr.in6_u.u6_addr8))
    }

    /// Whether it is what makes an address one of this machine.
    pub(crate) fn is_of_address(&self) -> bool {
        matches!(
            u32::from(read_once!(self, fib6_type)),
            bindings::RTN_LOCAL | bindings::RTN_ANYCAST
        )
    }
}

/// Addresses are in network byte order.
impl InetAddress {
    /// The device's own.
    pub(crate) fn local(&self) -> u32 {
        read_once!(self, ifa_local)
    }

    /// The other end's; without one, the same as [`Self::local`].
    pub(crate) fn peer(&self) -> u32 {
        read_once!(self, ifa_address)
    }

    /// The address of all in its net; zero for none.
    pub(crate) fn broadcast(&self) -> u32 {
        read_once!(self, ifa_broadcast)
    }

    /// The mask of its net.
    pub(crate) fn mask(&self) -> u32 {
        read_once!(self, ifa_mask)
    }

    /// The name that programs know it by, with zeros behind it.
    pub(crate) fn label(&self) -> [u8; DEVICE_NAME] {
        read_once!(self, ifa_label)
    }
}

impl DeviceRequest {
    /// The name of the device, and what the program asks or tells of it.
    pub(crate) fn bytes(&self) -> [u8; size_of::<bindings::ifreq>()] {
        // SAFETY: Valid by the type's invariant. It was copied from the program as a whole, and only
        // the caller of the kernel's function uses it.
        unsafe { self.as_ptr().cast_const().cast::<[u8; _]>().read() }
    }

    /// Writes the beginning of the answer.
    pub(crate) fn set_beginning<const LENGTH: usize>(&self, bytes: [u8; LENGTH]) {
        const { assert!(LENGTH <= size_of::<bindings::ifreq>()) };
        // SAFETY: As above; there is that much room.
        unsafe { self.as_ptr().cast::<[u8; LENGTH]>().write(bytes) }
    }
}

/// Whether the caller's system call is one of a program of 32 bits.
pub(crate) fn is_compat_call() -> bool {
    // SAFETY: Looks at the caller only.
    unsafe { bindings::vserver_inline_in_compat_syscall() }
}
