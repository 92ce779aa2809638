// SPDX-License-Identifier: GPL-2.0

//! `cgroup.procs` and `cgroup.threads`.

use super::*;

extern "C" {
    fn vserver_orig_cgroup_procs_show(seq: *mut bindings::seq_file, task: *mut c_void) -> c_int;
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_cgroup_procs_show(
    seq: *mut bindings::seq_file,
    task: *mut c_void,
) -> c_int {
    // SAFETY: The iterator holds the task that it shows.
    if !hooks::pid::task_in_view(unsafe { as_task(task.cast()) }) {
        return 0;
    }
    // SAFETY: See above.
    unsafe { vserver_orig_cgroup_procs_show(seq, task) }
}
