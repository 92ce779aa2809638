// SPDX-License-Identifier: GPL-2.0

//! Which files of the kernel's own file systems may be read inside a context.
//!
//! A file of these that only root may read is meant for the host's root. Its owner is number 0, and
//! so is root inside, so the kernel would ask for no capability. What everybody may read is another
//! matter.

/// Processes, settings, and what drivers add.
pub const PROCFS: u64 = 0x9fa0;
/// Devices, drivers, parameters of modules, firmware tables.
pub const SYSFS: u64 = 0x6265_6572;
/// Internals of the kernel, mounted for root alone.
pub const DEBUGFS: u64 = 0x6462_6720;
/// Traces of everything that runs on the machine.
pub const TRACEFS: u64 = 0x7472_6163;
/// The state and the rules of the security modules.
pub const SECURITYFS: u64 = 0x7363_6673;
/// The rules of SELinux.
pub const SELINUXFS: u64 = 0xf97c_ff8c;
/// The rules of Smack.
pub const SMACKFS: u64 = 0x4341_5d53;
/// Variables of the firmware.
pub const EFIVARFS: u64 = 0xde5e_81e4;
/// The log of the kernel that crashed.
pub const PSTORE: u64 = 0x6165_676c;
/// Objects of drivers: targets, gadgets, network consoles.
pub const CONFIGFS: u64 = 0x6265_6570;
/// The hypervisor.
pub const XENFS: u64 = 0xabba_1974;
/// Shares of caches and memory bandwidth.
pub const RESCTRL: u64 = 0x0765_5821;
/// The NFS server.
pub const NFSD: u64 = 0x6e66_7364;

/// Whether the files of a file system of this kind are the machine's, whoever has mounted it.
#[inline]
pub fn holds_machine_files(magic: u64) -> bool {
    matches!(
        magic,
        PROCFS
            | SYSFS
            | DEBUGFS
            | TRACEFS
            | SECURITYFS
            | SELINUXFS
            | SMACKFS
            | EFIVARFS
            | PSTORE
            | CONFIGFS
            | XENFS
            | RESCTRL
            | NFSD
    )
}

const GROUP_READS: u16 = 0o040;
const GROUP_SEARCHES: u16 = 0o010;
const OTHERS_READ: u16 = 0o004;
const OTHERS_WRITE: u16 = 0o002;
const OTHERS_SEARCH: u16 = 0o001;

/// Whether only root may read a file with this mode. Group 0 is root's.
pub fn only_root_reads(mode: u16, group: u32) -> bool {
    mode & OTHERS_READ == 0 && (group == 0 || mode & GROUP_READS == 0)
}

/// Whether a file with this mode can be written to by some only: root, or a group that the host has
/// chosen.
pub fn not_everybody_writes(mode: u16) -> bool {
    mode & OTHERS_WRITE == 0
}

/// Whether only root may walk through a directory with this mode.
pub fn only_root_searches(mode: u16, group: u32) -> bool {
    mode & OTHERS_SEARCH == 0 && (group == 0 || mode & GROUP_SEARCHES == 0)
}

/// What there is of a process 1 that is shown for the sake of tools and is not the context's: its
/// name, and that it runs.
pub const SHOWN_OF_FOREIGN_INIT: [&[u8]; 4] = [b"comm", b"cmdline", b"stat", b"status"];

/// Whether a file of `/proc/1` exists when that process is not the context's.
pub fn is_shown_of_foreign_init(name: &[u8]) -> bool {
    SHOWN_OF_FOREIGN_INIT.contains(&name)
}
