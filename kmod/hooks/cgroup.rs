// SPDX-License-Identifier: GPL-2.0

//! `cgroup.procs` and `cgroup.threads`. (The stock lane; in the other one the kernel asks who is there.)

use super::pid::sees;
use crate::{
    attach::hook::hooks,
    linux::{Seq, TaskRef},
};
use kernel::ffi::c_int;

hooks! {
    wrap_atomic(original) fn cgroup_procs_show(_seq: &Seq, task: &TaskRef) -> c_int {
        if sees(task) {
            original()
        } else {
            0
        }
    }
}
