// SPDX-License-Identifier: GPL-2.0

//! The ioctl ABI of `/dev/vserver`: numbers, structures, constants.
//!
//! Rules: every structure has a fixed size without implicit padding; fields named `reserved*` must
//! be zero on the way in (`EINVAL` otherwise) and are zero on the way out; unknown flag bits are
//! `EINVAL`; an ioctl number that is not in this file is `ENOTTY`. An ioctl that fails has changed
//! nothing.

use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of this ABI. Raised when a field or a command changes its meaning, never for additions.
pub const ABI_VERSION: u32 = 2;

/// The `type` byte of every ioctl of the device.
pub const IOC_TYPE: u8 = 0xb9;

const IOC_READ: u32 = 2;
const IOC_WRITE: u32 = 1;

const fn ioc(dir: u32, nr: u32, size: usize) -> u32 {
    (dir << 30) | ((size as u32) << 16) | ((IOC_TYPE as u32) << 8) | nr
}

/// Describe the module: [`Info`]. Open to everyone.
pub const IOC_INFO: u32 = ioc(IOC_READ, 0, size_of::<Info>());
/// Move the calling process into a context: [`Enter`].
pub const IOC_ENTER: u32 = ioc(IOC_READ | IOC_WRITE, 1, size_of::<Enter>());
/// Describe the context of a process that the caller can see: [`Get`].
pub const IOC_GET: u32 = ioc(IOC_READ | IOC_WRITE, 2, size_of::<Get>());
/// Describe the contexts that the caller can see, in ascending order: [`List`].
pub const IOC_LIST: u32 = ioc(IOC_READ | IOC_WRITE, 3, size_of::<List>());
/// Get a context fd for a context that exists: [`Open`].
pub const IOC_OPEN: u32 = ioc(IOC_READ | IOC_WRITE, 4, size_of::<Open>());
/// Confine the calling process, and what it will start, to addresses: [`Addresses`].
pub const IOC_SET_ADDRESSES: u32 = ioc(IOC_READ | IOC_WRITE, 5, size_of::<Addresses>());
/// Tell to which addresses a process that the caller can see is confined: [`Addresses`].
pub const IOC_GET_ADDRESSES: u32 = ioc(IOC_READ | IOC_WRITE, 6, size_of::<Addresses>());
/// Send a signal into a context from outside: [`Signal`].
pub const IOC_SIGNAL: u32 = ioc(IOC_READ | IOC_WRITE, 7, size_of::<Signal>());
/// On a context fd: tell what has become of the context, [`Status`]. Works after its end, too.
pub const IOC_STATUS: u32 = ioc(IOC_READ, 8, size_of::<Status>());
/// List the hooks of the module: [`ListHooks`].
pub const IOC_LIST_HOOKS: u32 = ioc(IOC_READ | IOC_WRITE, 9, size_of::<ListHooks>());

/// The root server's context, where the machine boots.
pub const CONTEXT_ROOT: i32 = 0;
/// The spectator's context: sees everything, signals nothing.
pub const CONTEXT_SPECTATOR: i32 = 1;
/// Request: the next free number.
pub const CONTEXT_NEW: i32 = -1;
/// Request: stay here, only give up capabilities or add flags.
pub const CONTEXT_STAY: i32 = -2;
/// The lowest number of a vserver's context.
pub const CONTEXT_MIN: i32 = 2;
/// The lowest number that [`CONTEXT_NEW`] hands out; numbers below are for those who choose.
pub const CONTEXT_DYNAMIC_MIN: i32 = 49152;
/// The highest number of a context.
pub const CONTEXT_MAX: i32 = 65535;

/// Cannot enter another context any more.
pub const FLAG_LOCK: u32 = 1;
/// All processes of the context together weigh what one process weighs.
pub const FLAG_SCHED: u32 = 2;
/// The limit on processes counts the whole context.
pub const FLAG_NPROC: u32 = 4;
/// Nobody else may join.
pub const FLAG_PRIVATE: u32 = 8;
/// The calling process becomes the context's process number 1.
pub const FLAG_FAKEINIT: u32 = 16;
/// No context lines in `/proc/PID/status`.
pub const FLAG_HIDEINFO: u32 = 32;
/// The caller's resource limits become the context's.
pub const FLAG_ULIMIT: u32 = 64;
/// Every flag that this ABI knows.
pub const FLAG_ALL: u32 = 127;

/// [`Enter::options`]: also return a context fd in [`Enter::fd`].
pub const ENTER_OPEN_FD: u32 = 1;
/// Every bit that [`Enter::options`] knows.
pub const ENTER_OPTIONS_ALL: u32 = 1;

/// The most addresses that [`IOC_SET_ADDRESSES`] takes.
pub const ADDRESSES_MAX: u32 = 4096;
/// [`Address::family`]: IPv4, as in `AF_INET`.
pub const FAMILY_IPV4: u16 = 2;
/// [`Address::family`]: IPv6, as in `AF_INET6`.
pub const FAMILY_IPV6: u16 = 10;
/// [`Address::flags`]: every address that begins with the prefix, instead of one address.
pub const ADDRESS_PREFIX: u8 = 1;

/// [`Info::features`]: processes can be confined to addresses.
pub const FEATURE_ADDRESSES: u64 = 1;

/// [`Info::features`]: a process can be a context's process 1 ([`FLAG_FAKEINIT`]).
pub const FEATURE_FAKEINIT: u64 = 2;
/// [`Info::features`]: orphans of processes that entered a context from outside go to its process 1,
/// like all others. Without it they go to whom they would go outside of contexts.
pub const FEATURE_ORPHANS: u64 = 4;

/// [`Info::lane`]: attached through ftrace to an unmodified kernel.
pub const LANE_STOCK: u32 = 0;
/// [`Info::lane`]: attached to the hook points that `patches/` adds.
pub const LANE_PATCHED: u32 = 1;

/// The size of [`HookInfo::name`].
pub const HOOK_NAME_LEN: usize = 48;
/// The size of [`HookInfo::kind`].
pub const HOOK_KIND_LEN: usize = 16;
/// The size of [`HookInfo::file`].
pub const HOOK_FILE_LEN: usize = 40;
/// [`HookInfo::place`]: the kernel's function of that name jumps to the hook (ftrace).
pub const HOOK_FUNCTION: u32 = 0;
/// [`HookInfo::place`]: the patched kernel calls the hook by the member of that name of its `struct vserver_ops`.
pub const HOOK_MEMBER: u32 = 1;

/// [`ContextInfo::state`]: processes live in it.
pub const STATE_ALIVE: u32 = 1;
/// [`ContextInfo::state`]: its process 1 has exited, or called reboot(2): all are being killed, and nobody
/// can enter.
pub const STATE_ENDING: u32 = 2;
/// [`Status::state`]: no process is left in it.
pub const STATE_ENDED: u32 = 3;

/// [`Signal::pid`]: process 1 of the context.
pub const SIGNAL_INIT: i32 = 0;
/// [`Signal::pid`]: every process of the context, and of those inside of it.
pub const SIGNAL_ALL: i32 = -1;

/// [`Status::init`]: the context has never had a process 1.
pub const INIT_NONE: u32 = 0;
/// [`Status::init`]: its process 1 runs.
pub const INIT_RUNNING: u32 = 1;
/// [`Status::init`]: its process 1 has exited; [`Status::init_status`] says how.
pub const INIT_EXITED: u32 = 2;

/// [`Status::reboot`]: nobody has called reboot(2).
pub const REBOOT_NONE: u32 = 0;
/// [`Status::reboot`]: `LINUX_REBOOT_CMD_RESTART` or `RESTART2` was asked for.
pub const REBOOT_RESTART: u32 = 1;
/// [`Status::reboot`]: `LINUX_REBOOT_CMD_HALT` was asked for.
pub const REBOOT_HALT: u32 = 2;
/// [`Status::reboot`]: `LINUX_REBOOT_CMD_POWER_OFF` was asked for.
pub const REBOOT_POWER_OFF: u32 = 3;

/// What [`IOC_INFO`] returns.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct Info {
    /// [`ABI_VERSION`] of the module.
    pub abi_version: u32,
    /// [`LANE_STOCK`] or [`LANE_PATCHED`].
    pub lane: u32,
    /// Hooks that are attached now.
    pub hooks_attached: u32,
    /// Hooks that the module knows in this lane.
    pub hooks_total: u32,
    /// Contexts alive, 0 and 1 not counted.
    pub contexts: u32,
    /// The most contexts that can be alive at once.
    pub contexts_max: u32,
    /// The flags that ENTER accepts (`FLAG_*`); a known flag outside is `EOPNOTSUPP`.
    pub flags_supported: u32,
    /// The number of capabilities the kernel knows (41 means 0..=40).
    pub capabilities: u32,
    /// What the module can do in this lane: `FEATURE_*`.
    pub features: u64,
    /// Zero.
    pub reserved: [u64; 3],
}

/// Argument of [`IOC_ENTER`].
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct Enter {
    /// In: a context number, [`CONTEXT_NEW`] or [`CONTEXT_STAY`]. Out: the number of the context
    /// that the process is now in.
    pub context: i32,
    /// In: `FLAG_*` to add to the context.
    pub flags: u32,
    /// In: the capabilities to give up for good, bit N is capability N. Bits of capabilities that
    /// the kernel does not know are `EINVAL`.
    pub caps_drop: u64,
    /// In: `ENTER_*` bits.
    pub options: u32,
    /// Out: the context fd (close-on-exec) when [`ENTER_OPEN_FD`] was given, else -1. Must be 0 on
    /// the way in.
    pub fd: i32,
    /// Must be zero.
    pub reserved: [u64; 5],
}

/// One context, as told by [`IOC_GET`] and [`IOC_LIST`].
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct ContextInfo {
    /// The context's number.
    pub context: i32,
    /// Its `FLAG_*`.
    pub flags: u32,
    /// Capabilities that no process of the context can have (inherited from outer contexts too).
    pub caps_dropped: u64,
    /// Threads in it, zombies included; 0 for contexts 0 and 1, which do not count.
    pub tasks: u32,
    /// The context it was entered from, 0 for the root server.
    pub outer: i32,
    /// The pid of its process 1 as the caller sees it, 0 when it has none.
    pub initpid: i32,
    /// `STATE_*`.
    pub state: u32,
    /// CLOCK_BOOTTIME nanoseconds at which the context was made, 0 for contexts 0 and 1.
    pub created_ns: u64,
    /// The limit on tasks that FLAG_ULIMIT fixed, 0 when none was fixed.
    pub nproc_limit: u64,
    /// Zero.
    pub reserved: [u64; 2],
}

/// Argument of [`IOC_GET`].
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct Get {
    /// In: a process or thread by its pid as the caller sees it; 0: the caller. `ESRCH` when the
    /// caller cannot see it.
    pub pid: i32,
    /// Must be zero.
    pub reserved: u32,
    /// Out. All zero on the way in.
    pub info: ContextInfo,
}

/// Argument of [`IOC_LIST`].
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct List {
    /// In: address of an array of [`ContextInfo`].
    pub buffer: u64,
    /// In: elements of the array, 1 to 65536. Out: elements written; 0 at the end.
    pub count: u32,
    /// In: only contexts numbered higher than this (start with 0).
    /// Out: the number of the last one written, to be used for the next call.
    pub after: i32,
    /// Must be zero.
    pub reserved: [u64; 2],
}

/// Argument of [`IOC_OPEN`].
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct Open {
    /// In: the context's number, 2 and up. `ESRCH` when it does not exist or the caller cannot
    /// see it; the caller must be in context 0 or in that very context.
    pub context: i32,
    /// Out: the context fd, close-on-exec. It polls `POLLPRI` once its process 1 has exited or called
    /// reboot(2), and `POLLIN | POLLHUP` once the context is empty. Must be 0 on the way in.
    pub fd: i32,
    /// Must be zero.
    pub reserved: [u64; 3],
}

/// Argument of [`IOC_SIGNAL`]. For CAP_SYS_ADMIN in context 0, `EPERM` otherwise.
///
/// It comes from outside: with [`SIGNAL_INIT`], process 1, too, dies of a signal that it has no handler for and
/// does not block. SIGKILL and SIGSTOP reach it in any case. A receiver finds `si_code` `SI_KERNEL`
/// and `si_pid` 0.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct Signal {
    /// In: the context's number, 2 and up. `ESRCH` when it does not exist.
    pub context: i32,
    /// In: a pid of the context's as the root server counts, [`SIGNAL_INIT`] or [`SIGNAL_ALL`]. `ESRCH`
    /// when there is no such process in that context.
    pub pid: i32,
    /// In: the signal's number; 0 only asks whether there is somebody. `EINVAL` when there is no such
    /// signal.
    pub signal: u32,
    /// Out: the processes that it was sent to. Must be 0 on the way in.
    pub processes: u32,
    /// Must be zero.
    pub reserved: [u64; 2],
}

/// What [`IOC_STATUS`] returns.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct Status {
    /// The context's number. Once it has ended, another context may have it.
    pub context: i32,
    /// `STATE_*`.
    pub state: u32,
    /// Threads in it, zombies included.
    pub tasks: u32,
    /// `INIT_*`.
    pub init: u32,
    /// How process 1 exited, as wait(2) reports it; 0 until then.
    pub init_status: u32,
    /// `REBOOT_*`: the first one that was asked for.
    pub reboot: u32,
    /// Zero.
    pub reserved: [u64; 3],
}

/// One address, or all addresses that begin with a prefix.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct Address {
    /// [`FAMILY_IPV4`] or [`FAMILY_IPV6`].
    pub family: u16,
    /// Bits of the network's prefix, 0 to 32 or 128. Of one address it is only shown.
    pub prefix: u8,
    /// `ADDRESS_*` bits.
    pub flags: u8,
    /// Must be zero.
    pub reserved: u32,
    /// The address in network byte order. IPv4: the first four bytes, the others are zero. With
    /// [`ADDRESS_PREFIX`] the bits behind the prefix are zero.
    pub address: [u8; 16],
}

/// Argument of [`IOC_SET_ADDRESSES`] and [`IOC_GET_ADDRESSES`].
///
/// SET works once for everybody. Who is confined already may only keep some of the addresses
/// (`EPERM` otherwise); root in context 0 may set anything at any time, and be free again with a count
/// of 0. `EINVAL`: an address is malformed, unspecified, multicast or IPv4 mapped into IPv6, the broadcast
/// address is none of IPv4, the count is 0 or too large, or the process has several threads.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct Addresses {
    /// Address of an array of [`Address`].
    pub buffer: u64,
    /// In: elements of the array. Out: the addresses that there are; as many are written as there is
    /// room for. 0: the process is not confined.
    pub count: u32,
    /// GET, in: a process by its pid as the caller sees it; 0: the caller. SET: 0.
    pub pid: i32,
    /// The IPv4 broadcast address that may be bound, all zero for none.
    pub broadcast: [u8; 4],
    /// Out: what 127.0.0.1 of the process is outside of it, all zero when it has no loopback of
    /// its own. In: zero.
    pub loopback: [u8; 4],
    /// Must be zero.
    pub reserved: [u64; 3],
}

/// Argument of [`IOC_LIST_HOOKS`]. For CAP_SYS_ADMIN in context 0, `EPERM` otherwise.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
pub struct ListHooks {
    /// In: address of an array of [`HookInfo`].
    pub buffer: u64,
    /// In: elements of the array, 1 to 4096. Out: elements written; 0 at the end.
    pub count: u32,
    /// In: how many hooks to leave out (start with 0). Out: the value for the next call.
    pub skip: u32,
    /// Must be zero.
    pub reserved: [u64; 2],
}

/// One hook, as told by [`IOC_LIST_HOOKS`]. Texts end with a NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct HookInfo {
    /// The kernel's function, or the member of its `struct vserver_ops`.
    pub name: [u8; HOOK_NAME_LEN],
    /// What the hook does: `mediate`, `wrap` and other words of `kmod/attach/hook.rs`.
    pub kind: [u8; HOOK_KIND_LEN],
    /// The source file that declares it, below `kmod/`.
    pub file: [u8; HOOK_FILE_LEN],
    /// `HOOK_*`: how the kernel comes to it.
    pub place: u32,
    /// 1 if it is attached, else 0. Some are only while a process 1 of a context lives.
    pub attached: u32,
    /// Zero.
    pub reserved: [u64; 2],
}

// Not derived: core has it for arrays of up to 32 elements.
impl Default for HookInfo {
    fn default() -> Self {
        Self {
            name: [0; HOOK_NAME_LEN],
            kind: [0; HOOK_KIND_LEN],
            file: [0; HOOK_FILE_LEN],
            place: 0,
            attached: 0,
            reserved: [0; 2],
        }
    }
}
