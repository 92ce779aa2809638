// SPDX-License-Identifier: GPL-2.0

//! The handlers, named after the kernel subsystem that each guards. They convert arguments, ask
//! the policy and return its answer. Both lanes call the same ones.

pub(crate) mod arrival;
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) mod cgroup;
pub(crate) mod clock;
pub(crate) mod fs;
pub(crate) mod init;
#[cfg(CONFIG_KEYS)]
pub(crate) mod keys;
pub(crate) mod namespaces;
pub(crate) mod net;
pub(crate) mod owner;
#[cfg(CONFIG_SECURITY_VSERVER)]
pub(crate) mod patched;
pub(crate) mod pid;
pub(crate) mod proc_status;
pub(crate) mod ptrace;
pub(crate) mod quotas;
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) mod sched;
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) mod scm;
pub(crate) mod signal;
pub(crate) mod task;
pub(crate) mod tty;
pub(crate) mod uts;

use crate::{
    attach::{self, hook::Hook},
    context::{init_hooks, membership, network::Network, quotas as counters, reaper},
};

/// What `hooks!` declares and is attached as long as the module is loaded.
const ALWAYS: &[&[Hook]] = &[
    arrival::HOOKS,
    clock::HOOKS,
    fs::barrier::HOOKS,
    fs::chroot::HOOKS,
    fs::host_files::HOOKS,
    fs::kernfs::HOOKS,
    fs::machine_files::HOOKS,
    init::HOOKS,
    #[cfg(CONFIG_KEYS)]
    keys::HOOKS,
    namespaces::HOOKS,
    net::device::HOOKS,
    net::events::HOOKS,
    net::genetlink::HOOKS,
    net::icmp::HOOKS,
    net::lookup::HOOKS,
    net::network_files::HOOKS,
    net::ports::HOOKS,
    net::procfs::HOOKS,
    net::sockets::HOOKS,
    owner::HOOKS,
    pid::foreign_init::HOOKS,
    proc_status::HOOKS,
    ptrace::HOOKS,
    quotas::HOOKS,
    signal::HOOKS,
    task::HOOKS,
    tty::devpts::HOOKS,
    tty::pty::HOOKS,
    uts::HOOKS,
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    pid::lookup::HOOKS,
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    cgroup::HOOKS,
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    pid::pidfd::HOOKS,
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    pid::proc::HOOKS,
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    sched::HOOKS,
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    scm::HOOKS,
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    signal::stock::HOOKS,
    #[cfg(CONFIG_SECURITY_VSERVER)]
    patched::HOOKS,
];

/// What is attached as long as there is a process 1 of a context (`context/init_hooks.rs`): some of them are on the way of
/// calls that all processes make all the time.
const WITH_INITS: &[&[Hook]] = &[
    pid::proc_root::HOOKS,
    init::with_inits::HOOKS,
    pid::open::HOOKS,
    pid::translate::HOOKS,
    #[cfg(CONFIG_SECURITY_VSERVER)]
    pid::lookup::HOOKS,
];

/// In module init, before the hooks are attached.
pub(crate) fn init() {
    tty::pty::init();
    net::sockets::init();
    net::any::init();
    #[cfg(CONFIG_KEYS)]
    keys::init();
}

/// All of them.
pub(crate) struct All;

impl attach::Handlers for All {
    const ALWAYS: &'static [&'static [Hook]] = ALWAYS;
    const WITH_INITS: &'static [&'static [Hook]] = WITH_INITS;

    fn attached() {
        tty::devpts::begin();
    }

    fn leaving() {
        init_hooks::exit();
        membership::purge();
    }

    fn silence() {
        tty::devpts::unmark();
        pid::proc_root::unmark();
    }

    fn forget() {
        tty::devpts::end();
        pid::proc_root::end();
    }

    fn gone() {
        reaper::exit();
        #[cfg(CONFIG_KEYS)]
        keys::end();
        counters::exit();
    }
}

impl reaper::AtEnd for All {
    fn ended(network: &Network) {
        #[cfg(CONFIG_KEYS)]
        keys::forget(network.tag());
        tty::pty::end_loans_to(network.tag());
    }
}

impl init_hooks::Follow for All {
    fn attached() {
        pid::translate::begin();
        pid::proc_root::begin();
    }

    fn detached() {
        pid::translate::end();
        pid::proc_root::pause();
    }
}
