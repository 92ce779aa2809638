// SPDX-License-Identifier: GPL-2.0

//! Files: ways out of a root directory, and what is the machine's.

pub(crate) mod barrier;
pub(crate) mod chroot;
pub(crate) mod host_files;
pub(crate) mod kernfs;
pub(crate) mod machine_files;
