// SPDX-License-Identifier: GPL-2.0

//! Messages of netlink between a program and the kernel, by a buffer of the module's, so that what [`NetlinkOperations`] looks
//! at is what is sent and told.

#![allow(clippy::missing_safety_doc)] // The kernel calls the operations as the functions that they stand for.

use super::{cond_resched, Sock, Socket, SocketOperations, SocketOps};
use crate::bindings::{
    self, iov_iter, kvec, msghdr, sockaddr_nl, ITER_DEST, ITER_SOURCE, MSG_DONTWAIT, MSG_PEEK,
    MSG_TRUNC,
};
use core::{
    mem::MaybeUninit,
    ptr::{self, NonNull},
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    ffi::{c_int, c_void},
    prelude::*,
};

/// What is done with sockets of netlink.
pub(crate) trait NetlinkOperations {
    /// What the sockets are of.
    type Of: SocketOperations;
    /// Who is told, or asks.
    type Reader<'a>: NetlinkReader<'a>;
    /// Whether one of a context hears nothing.
    fn is_deaf(sock: &Sock) -> bool;
}

/// Who is told by a socket, or asks by it.
pub(crate) trait NetlinkReader<'a>: Sized {
    /// `None`: one who is told everything.
    fn told(socket: &'a Socket, ops: &'a SocketOps) -> Option<Self>;
    /// `None`: one who may ask for everything.
    fn asking(socket: &'a Socket, ops: &'a SocketOps) -> Option<Self>;
    /// Leaves out of some messages for a port what is not to be seen: the length that is left.
    fn strike(&self, port: u32, messages: &mut [u8]) -> usize;
    /// Whether all that is asked for may be done.
    fn check(&self, messages: &mut [u8]) -> Result;
}

type Receive = unsafe extern "C" fn(*mut bindings::socket, *mut msghdr, usize, c_int) -> c_int;
type Send = unsafe extern "C" fn(*mut bindings::socket, *mut msghdr, usize) -> c_int;

/// As large as the messages that the kernel makes, but for the longest.
const BUFFER: usize = 32 << 10;
/// The longest that a program may send.
const MOST_SENT: usize = 64 << 10;

fn length(answer: c_int) -> Result<usize> {
    usize::try_from(answer).map_err(|_| Error::from_errno(answer))
}

/// A call of recvmsg(2) or sendmsg(2) that is going on.
///
/// # Invariants
///
/// `message` is the one that the kernel has called the operation of `socket` with; nobody else uses it meanwhile.
struct Call<'a> {
    socket: &'a Socket,
    message: NonNull<msghdr>,
}

impl Call<'_> {
    fn data(&self) -> *mut iov_iter {
        // SAFETY: Valid by the type's invariant.
        unsafe { &raw mut (*self.message.as_ptr()).msg_iter }
    }

    /// Has `work` find a buffer of the kernel's where the program's is.
    fn with_buffer<R>(
        &self,
        direction: u32,
        buffer: *mut c_void,
        length: usize,
        work: impl FnOnce(*mut msghdr) -> R,
    ) -> R {
        let vector = kvec {
            iov_base: buffer,
            iov_len: length,
        };
        // SAFETY: Valid by the type's invariant; a copy of numbers and pointers.
        let program = unsafe { self.data().read() };
        // SAFETY: As above. The vector and what it leads to stay until `work` is done.
        unsafe { bindings::iov_iter_kvec(self.data(), direction, &vector, 1, length) };
        let result = work(self.message.as_ptr());
        // SAFETY: As above.
        unsafe { self.data().write(program) };
        result
    }
}

/// A call of recvmsg(2).
struct Receiving<'a> {
    call: Call<'a>,
    original: Receive,
}

impl Receiving<'_> {
    /// How long the next message is. Waits for it, if the flags say so.
    fn peek(&self, flags: c_int) -> Result<usize> {
        let nothing = kvec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: Numbers and pointers, all of which may be zero.
        let mut message: msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: Valid by the type's invariant.
        message.msg_flags = unsafe { (*self.call.message.as_ptr()).msg_flags };
        // SAFETY: Both stay until the function below is done.
        unsafe {
            bindings::iov_iter_kvec(&mut message.msg_iter, ITER_DEST, &nothing, 1, 0);
        }
        let flags = flags | (MSG_PEEK | MSG_TRUNC) as c_int;
        // SAFETY: The kernel's function for the socket, with room for nothing.
        length(unsafe { (self.original)(self.call.socket.as_ptr(), &mut message, 0, flags) })
    }

    /// One message. Its buffer is allocated when the message has arrived, so a waiting process holds no memory. If another
    /// thread takes it first, the next message may be truncated.
    fn receive(&self, flags: c_int) -> Result<KVVec<u8>> {
        let waits = flags & MSG_DONTWAIT as c_int == 0;
        let at_once = flags & !(MSG_TRUNC as c_int) | MSG_DONTWAIT as c_int;
        loop {
            let room = self.peek(flags)?.max(BUFFER);
            let mut buffer = KVVec::<u8>::with_capacity(room, GFP_KERNEL_ACCOUNT)?;
            let place = buffer.spare_capacity_mut().as_mut_ptr().cast();
            let answer = self.call.with_buffer(ITER_DEST, place, room, |message| {
                // SAFETY: The kernel's function for the socket, with as much room as it is told.
                unsafe { (self.original)(self.call.socket.as_ptr(), message, room, at_once) }
            });
            match length(answer) {
                Err(error) if error == EAGAIN && waits => (),
                Err(error) => return Err(error),
                Ok(length) => {
                    // SAFETY: So much was written, and there was room for it.
                    unsafe { buffer.inc_len(length.min(room)) };
                    return Ok(buffer);
                }
            }
        }
    }

    /// The next messages of which something may be told, and how much.
    fn next<'a>(
        &self,
        reader: &impl NetlinkReader<'a>,
        port: u32,
        flags: c_int,
    ) -> Result<(KVVec<u8>, usize)> {
        let message = self.call.message.as_ptr();
        // SAFETY: Valid by the type's invariant; a copy of numbers and pointers.
        let program = unsafe { message.cast::<MaybeUninit<msghdr>>().read() };
        let restore = || {
            // SAFETY: As above.
            unsafe { message.copy_from_nonoverlapping(program.as_ptr(), 1) }
        };
        loop {
            let mut buffer = self.receive(flags)?;
            let left = reader.strike(port, &mut buffer);
            if left != 0 || buffer.is_empty() {
                return Ok((buffer, left));
            }
            drop(buffer);
            restore();
            // Nothing is left of it: the next one. One that was only looked at is in the way.
            let peeks = MSG_PEEK as c_int;
            if flags & peeks != 0 {
                match self.receive(flags & !peeks | MSG_DONTWAIT as c_int) {
                    Err(error) if error != EAGAIN => return Err(error),
                    _ => restore(),
                }
            }
            cond_resched();
        }
    }

    /// Gives the program what it may be told.
    fn tell(&self, told: &[u8], size: usize, flags: c_int) -> Result<usize> {
        let copied = told.len().min(size);
        let message = self.call.message.as_ptr();
        // SAFETY: Valid by the type's invariant.
        unsafe {
            (*message).msg_flags &= !MSG_TRUNC;
            if copied < told.len() {
                (*message).msg_flags |= MSG_TRUNC;
            }
        }
        // SAFETY: As above; so much is there to be copied.
        let done = unsafe {
            bindings::vserver_inline_copy_to_iter(told.as_ptr().cast(), copied, self.call.data())
        };
        if done != copied {
            Err(EFAULT)
        } else if flags & MSG_TRUNC as c_int != 0 {
            Ok(told.len())
        } else {
            Ok(copied)
        }
    }
}

/// By what the kernel addresses a socket; zero when it is not bound yet.
fn port(socket: &Socket, ops: &SocketOps) -> u32 {
    let mut name = [0u64; size_of::<bindings::__kernel_sockaddr_storage>() / size_of::<u64>()];
    let length = ops.kernels().getname.map_or(0, |getname| {
        // SAFETY: The kernel's function for the socket, with room for every kind of address.
        unsafe { getname(socket.as_ptr(), name.as_mut_ptr().cast(), 0) }
    });
    if length <= 0 {
        return 0;
    }
    // SAFETY: An address of netlink is shorter than that.
    unsafe { (*name.as_ptr().cast::<sockaddr_nl>()).nl_pid }
}

// The operations. SAFETY of both: their arguments are those that the kernel calls operations with.

pub(super) unsafe extern "C" fn recvmsg<T: NetlinkOperations>(
    sock: *mut bindings::socket,
    message: *mut msghdr,
    size: usize,
    flags: c_int,
) -> c_int {
    // SAFETY: See above.
    let socket = unsafe { Socket::from_ptr(sock) };
    let ops = socket.ops::<T::Of>();
    let (Some(original), Some(place)) = (ops.kernels().recvmsg, NonNull::new(message)) else {
        return EOPNOTSUPP.to_errno();
    };
    let Some(reader) = T::Reader::told(socket, ops) else {
        // SAFETY: The same call, with the same arguments.
        return unsafe { original(sock, message, size, flags) };
    };
    // INVARIANT: See above.
    let receiving = Receiving {
        call: Call {
            socket,
            message: place,
        },
        original,
    };
    receiving
        .next(&reader, port(socket, ops), flags)
        .and_then(|(buffer, left)| match left {
            0 => Ok(0),
            left => receiving.tell(&buffer[..left], size, flags),
        })
        .map_or_else(Error::to_errno, |length| length as c_int)
}

/// Sends what a program asks for if all of it may be done. What is checked is what is sent.
fn send<'a>(
    call: &Call<'_>,
    asking: &impl NetlinkReader<'a>,
    original: Send,
    size: usize,
) -> Result<c_int> {
    if size > MOST_SENT {
        return Err(EMSGSIZE);
    }
    let mut buffer = KVVec::<u8>::with_capacity(size.max(1), GFP_KERNEL_ACCOUNT)?;
    let place: *mut c_void = buffer.spare_capacity_mut().as_mut_ptr().cast();
    // SAFETY: Valid by the type's invariant; a copy of numbers and pointers.
    let program = unsafe { call.data().read() };
    // SAFETY: As above; there is room for so much.
    let copied = unsafe { bindings::vserver_inline_copy_from_iter(place, size, call.data()) };
    // SAFETY: As above.
    unsafe { call.data().write(program) };
    if copied != size {
        return Err(EFAULT);
    }
    // SAFETY: So much was written.
    unsafe { buffer.inc_len(size) };
    asking.check(&mut buffer)?;
    let place = buffer.as_mut_ptr().cast();
    Ok(call.with_buffer(ITER_SOURCE, place, size, |message| {
        // SAFETY: The kernel's function for the socket, with as much as it is told.
        unsafe { original(call.socket.as_ptr(), message, size) }
    }))
}

pub(super) unsafe extern "C" fn sendmsg<T: NetlinkOperations>(
    sock: *mut bindings::socket,
    message: *mut msghdr,
    size: usize,
) -> c_int {
    // SAFETY: See above.
    let socket = unsafe { Socket::from_ptr(sock) };
    let ops = socket.ops::<T::Of>();
    let (Some(original), Some(place)) = (ops.kernels().sendmsg, NonNull::new(message)) else {
        return EOPNOTSUPP.to_errno();
    };
    let Some(asking) = T::Reader::asking(socket, ops) else {
        // SAFETY: The same call, with the same arguments.
        return unsafe { original(sock, message, size) };
    };
    // INVARIANT: See above.
    let call = Call {
        socket,
        message: place,
    };
    send(&call, &asking, original, size).unwrap_or_else(|error| error.to_errno())
}
