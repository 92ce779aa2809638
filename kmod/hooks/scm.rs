// SPDX-License-Identifier: GPL-2.0

//! Credentials in messages. (The stock lane; in the other one the kernel asks who is there.)

use super::pid::is_process_in_view;
use crate::{
    attach::hook::hooks,
    bindings::{msghdr, socket},
    linux::ScmCookie,
};
use kernel::{error::code::ESRCH, ffi::c_int};

hooks! {
    /// Root may send the credentials of another process: of one that is there for it. A call that fails leaves nothing in the
    /// cookie.
    wrap(original) fn __scm_send(_socket: *mut socket, _message: *mut msghdr, cookie: &ScmCookie) -> c_int {
        let error = original();
        if error != 0 || cookie.pid().is_none_or(is_process_in_view) {
            return error;
        }
        cookie.destroy();
        ESRCH.to_errno()
    }
}
