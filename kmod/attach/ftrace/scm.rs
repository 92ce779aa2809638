// SPDX-License-Identifier: GPL-2.0

//! Credentials in messages.

use super::*;

extern "C" {
    fn vserver_orig___scm_send(
        socket: *mut bindings::socket,
        message: *mut bindings::msghdr,
        cookie: *mut c_void,
    ) -> c_int;

    fn vserver_scm_check(cookie: *mut c_void) -> c_int;
}

/// Root may send the credentials of another process: of one that is there for it.
#[no_mangle]
unsafe extern "C" fn vserver_wrap___scm_send(
    socket: *mut bindings::socket,
    message: *mut bindings::msghdr,
    cookie: *mut c_void,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: See above.
    let error = unsafe { vserver_orig___scm_send(socket, message, cookie) };
    if error != 0 {
        return error;
    }
    // SAFETY: The call has filled in the cookie.
    unsafe { vserver_scm_check(cookie) }
}
