// SPDX-License-Identifier: GPL-2.0

//! CPU clocks of other processes. The kernel looks up the number in a clock, which also names a process group or a
//! session, and then takes the process of that number without asking whether it is in view.

use crate::{
    attach::hook::{hooks, unless},
    bindings::timespec64,
    hooks::pid::get_task,
    linux::Timer,
};
use kernel::{ffi::c_int, prelude::*};

/// `EINVAL`, as for a process that does not exist.
fn is_in_view(clock: c_int) -> Result {
    // CPUCLOCK_PID(); 0 is the caller's own.
    let pid = !(clock >> 3);
    unless(pid != 0 && get_task(pid).is_none(), EINVAL)
}

hooks! {
    mediate fn posix_cpu_clock_getres(clock: c_int, _resolution: *mut timespec64) -> c_int {
        is_in_view(clock)
    }

    mediate fn posix_cpu_clock_set(clock: c_int, _time: *const timespec64) -> c_int {
        is_in_view(clock)
    }

    mediate fn posix_cpu_clock_get(clock: c_int, _time: *mut timespec64) -> c_int {
        is_in_view(clock)
    }

    mediate fn posix_cpu_nsleep(clock: c_int, _flags: c_int, _time: *const timespec64) -> c_int {
        is_in_view(clock)
    }

    mediate fn posix_cpu_timer_create(timer: &Timer) -> c_int {
        is_in_view(timer.clock())
    }
}
