// SPDX-License-Identifier: GPL-2.0

//! `/dev/vserver`: one small method per ioctl.
//!
//! Every method checks all it was given before it changes anything, and does last what cannot fail.

use super::{
    context_fd,
    ioctl::{all_zero, read, write},
};
use crate::{
    attach,
    context::{
        self, init_hooks::InitHooks, membership, network::Network, quotas::Quotas, registry,
        Context,
    },
    hooks::{self, init, pid::get_task},
    linux::{self, shares_resources, Credentials, CAP_LAST},
    policy::{
        self,
        enter::{Caller, Decision, Refusal},
    },
    uapi::*,
};
use kernel::{
    fs::File,
    miscdevice::{MiscDevice, MiscDeviceRegistration},
    prelude::*,
    sync::Arc,
    uaccess::{UserPtr, UserSlice},
};

/// An open `/dev/vserver`: has no state.
pub(crate) struct Device;

#[vtable]
impl MiscDevice for Device {
    type Ptr = KBox<Device>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Device>> {
        Ok(KBox::new(Device, GFP_KERNEL)?)
    }

    fn ioctl(_device: &Device, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            IOC_INFO => info(arg),
            IOC_ENTER => enter(arg),
            IOC_GET => get(arg),
            IOC_LIST => list(arg),
            IOC_OPEN => open_context(arg),
            IOC_SET_ADDRESSES => set_addresses(arg),
            IOC_GET_ADDRESSES => get_addresses(arg),
            IOC_SIGNAL => signal(arg),
            IOC_LIST_HOOKS => list_hooks(arg),
            _ => Err(ENOTTY),
        }?;
        Ok(0)
    }
}

fn number_of(context: &Option<Arc<Context>>) -> i32 {
    context
        .as_ref()
        .map_or(CONTEXT_ROOT, |context| context.number())
}

fn info(arg: usize) -> Result {
    let (hooks_attached, hooks_total) = attach::hooks();
    write(
        arg,
        &Info {
            abi_version: ABI_VERSION,
            lane: attach::LANE,
            hooks_attached,
            hooks_total,
            contexts: context::alive(),
            contexts_max: registry::CONTEXTS_MAX,
            flags_supported: policy::enter::FLAGS_SUPPORTED,
            capabilities: CAP_LAST + 1,
            features: attach::FEATURES,
            reserved: [0; 3],
        },
    )
}

/// What the policy says about a request of the caller's, which is in `here`.
fn decide(request: &Enter, here: &Option<Arc<Context>>) -> Result<Decision> {
    let caller = Caller {
        context: number_of(here),
        flags: here.as_ref().map_or(0, |context| context.flags()),
        admin: linux::is_admin(),
        decides: here
            .as_ref()
            .is_none_or(|context| context.is_decided_by_caller()),
        single_threaded: linux::is_single_threaded(),
        entangled: shares_resources(),
        traced: linux::is_traced(),
        init: init::is_caller(),
    };
    policy::enter::decide(caller, request.context, request.flags).map_err(|refusal| match refusal {
        Refusal::Invalid => EINVAL,
        Refusal::NotAllowed => EPERM,
        Refusal::Unsupported => EOPNOTSUPP,
        Refusal::Busy => EBUSY,
    })
}

fn enter(arg: usize) -> Result {
    let request: Enter = read(arg)?;
    all_zero(&request.reserved)?;
    if request.fd != 0
        || request.options & !ENTER_OPTIONS_ALL != 0
        || request.caps_drop & !policy::caps::all(CAP_LAST) != 0
    {
        return Err(EINVAL);
    }
    let here = membership::own_context();
    let hooks = if request.flags & FLAG_FAKEINIT != 0 {
        // Who is refused attaches nothing. It is decided once more below, where it cannot change any more.
        decide(&request, &here)?;
        Some(InitHooks::new::<hooks::All>()?)
    } else {
        None
    };
    let _no_tracer = linux::TracersGuard::new()?;
    let decision = decide(&request, &here)?;
    if decision == Decision::Stay {
        return stay(arg, request, here, hooks);
    }

    let network = membership::own_network();
    let charge = registry::obtain(
        decision,
        request.flags,
        request.caps_drop,
        here,
        network.as_deref(),
    )?;
    let context = charge.thing().clone();
    let claim = claim_init(hooks, &context)?;
    let mut credentials = Credentials::of_caller()?
        .without(request.caps_drop | context.caps_dropped)
        .without_keys();
    if let Some((ucounts, user)) = context.quotas().map_or(Ok(None), Quotas::of_entering)? {
        credentials = credentials.counted_by(ucounts, user);
    }
    let file = reserve_fd(&request, Some(&context))?;
    write_entered(arg, request, context.number(), &file)?;
    let network = Network::of_joining(context.network(), network.as_deref())?;
    let entry = membership::Prepared::arriving(&context, network)?;
    // Last, as it is not undone. Who has failed with it has the same namespaces as before.
    context.give_namespaces()?;

    // Nothing below fails.
    entry.install_own(charge);
    credentials.commit();
    if let Some(file) = file {
        file.install();
    }
    adopt_files();
    if let Some(claim) = claim {
        claim.take();
    }
    init::entered(&context);
    Ok(())
}

/// With the hooks for it, the caller is to become process 1.
fn claim_init(hooks: Option<InitHooks>, context: &Arc<Context>) -> Result<Option<init::Claim>> {
    hooks
        .map(|hooks| init::Claim::new(context.clone(), hooks))
        .transpose()
}

/// The caller's sockets that are not bound to anything follow it into its network. There is no way
/// back from there, so without memory for it they stay where they are, and are of no use: who is
/// confined can neither bind nor connect what is not its network's.
fn adopt_files() {
    if hooks::net::sockets::adopt_files().is_err() {
        pr_warn!("no memory to take the sockets of a process along\n");
    }
}

/// `CONTEXT_STAY`: give up capabilities, add flags.
fn stay(
    arg: usize,
    request: Enter,
    here: Option<Arc<Context>>,
    hooks: Option<InitHooks>,
) -> Result {
    let credentials = Credentials::of_caller()?.without(request.caps_drop);
    if here.is_none() && request.options & ENTER_OPEN_FD != 0 {
        // Context 0 never ends.
        return Err(EINVAL);
    }
    let claim = match &here {
        Some(context) => claim_init(hooks, context)?,
        None => None,
    };
    let file = reserve_fd(&request, here.as_ref())?;
    write_entered(arg, request, number_of(&here), &file)?;

    // Nothing below fails.
    if let Some(context) = here {
        context.add_flags(request.flags);
    }
    credentials.commit();
    if let Some(file) = file {
        file.install();
    }
    if let Some(claim) = claim {
        claim.take();
    }
    Ok(())
}

fn reserve_fd(
    request: &Enter,
    context: Option<&Arc<Context>>,
) -> Result<Option<context_fd::Pending>> {
    match context {
        Some(context) if request.options & ENTER_OPEN_FD != 0 => {
            Ok(Some(context_fd::Pending::new(context.clone())?))
        }
        _ => Ok(None),
    }
}

/// Answers before the process moves, as this can fail and moving cannot be undone.
fn write_entered(
    arg: usize,
    request: Enter,
    context: i32,
    file: &Option<context_fd::Pending>,
) -> Result {
    write(
        arg,
        &Enter {
            context,
            fd: file.as_ref().map_or(-1, |file| file.fd()),
            ..request
        },
    )
}

fn get(arg: usize) -> Result {
    let mut request: Get = read(arg)?;
    all_zero(&request.reserved)?;
    all_zero(&request.info)?;
    let context = match request.pid {
        0 => membership::own_context(),
        // The number is looked up as by any system call: what the caller cannot see is absent.
        1.. => membership::context(&*get_task(request.pid).ok_or(ESRCH)?)?,
        _ => return Err(EINVAL),
    };
    request.info = match context {
        Some(context) => context.info(),
        None => ContextInfo {
            state: STATE_ALIVE,
            ..ContextInfo::default()
        },
    };
    write(arg, &request)
}

/// The context above `after` that the caller sees.
fn next_visible(viewer: &Option<Arc<Context>>, after: i32) -> Option<Arc<Context>> {
    match viewer {
        Some(own) if own.number() != CONTEXT_SPECTATOR => {
            Some(own.clone()).filter(|own| own.number() > after)
        }
        _ => registry::after(after),
    }
}

fn list(arg: usize) -> Result {
    let mut request: List = read(arg)?;
    all_zero(&request.reserved)?;
    if request.count == 0 || request.count > 65536 || request.after < 0 {
        return Err(EINVAL);
    }
    let viewer = membership::own_context();
    let size = size_of::<ContextInfo>();
    let length = request.count as usize * size;
    let mut out = UserSlice::new(UserPtr::from_addr(request.buffer as usize), length).writer();
    let room = request.count;
    request.count = 0;
    while request.count < room {
        let Some(context) = next_visible(&viewer, request.after) else {
            break;
        };
        out.write_slice(context.info().as_bytes())?;
        request.after = context.number();
        request.count += 1;
    }
    write(arg, &request)
}

fn open_context(arg: usize) -> Result {
    let mut request: Open = read(arg)?;
    all_zero(&request.reserved)?;
    if request.fd != 0 || !(CONTEXT_MIN..=CONTEXT_MAX).contains(&request.context) {
        return Err(EINVAL);
    }
    let viewer = number_of(&membership::own_context());
    if viewer != CONTEXT_ROOT && viewer != request.context {
        return Err(ESRCH);
    }
    let context = registry::find(request.context).ok_or(ESRCH)?;
    let file = context_fd::Pending::new(context)?;
    request.fd = file.fd();
    write(arg, &request)?;
    file.install();
    Ok(())
}

/// The highest number of a signal.
const SIGNAL_MAX: u32 = 64;

fn signal(arg: usize) -> Result {
    let mut request: Signal = read(arg)?;
    all_zero(&request.reserved)?;
    if request.processes != 0
        || request.signal > SIGNAL_MAX
        || request.pid < SIGNAL_ALL
        || !(CONTEXT_MIN..=CONTEXT_MAX).contains(&request.context)
    {
        return Err(EINVAL);
    }
    if membership::own_context().is_some() || !linux::is_admin() {
        return Err(EPERM);
    }
    let context = registry::find(request.context).ok_or(ESRCH)?;
    // Before anybody gets it: this can fail.
    write(arg, &request)?;
    request.processes = init::signal(&context, request.pid, request.signal)?;
    write(arg, &request)
}

fn read_addresses(request: &Addresses) -> Result<KVec<Address>> {
    let count = request.count as usize;
    let mut told = KVec::with_capacity(count, GFP_KERNEL)?;
    let mut reader = UserSlice::new(
        UserPtr::from_addr(request.buffer as usize),
        count * size_of::<Address>(),
    )
    .reader();
    for _ in 0..count {
        let mut address = Address::default();
        reader.read_slice(address.as_mut_bytes())?;
        told.push(address, GFP_KERNEL)?;
    }
    Ok(told)
}

fn set_addresses(arg: usize) -> Result {
    let request: Addresses = read(arg)?;
    all_zero(&request.reserved)?;
    let broadcast = u32::from_be_bytes(request.broadcast);
    if request.pid != 0
        || request.loopback != [0; 4]
        || request.count > ADDRESSES_MAX
        || !policy::address::may_be_broadcast(broadcast)
        || !linux::is_single_threaded()
    {
        return Err(EINVAL);
    }
    if shares_resources() {
        return Err(EBUSY);
    }
    let context = membership::own_context();
    let admin = context.is_none() && linux::is_admin();
    let before = membership::own_network();
    if request.count == 0 {
        if !admin || broadcast != 0 {
            return Err(EINVAL);
        }
        write(arg, &Addresses::default())?;
        return membership::set_own_network(None);
    }
    let told = read_addresses(&request)?;
    let network = Network::confined(
        before.as_deref(),
        admin,
        context.as_deref().map(Context::inner),
        told,
        broadcast,
    )?;
    write(
        arg,
        &Addresses {
            loopback: network.loopback().to_be_bytes(),
            ..request
        },
    )?;
    // Changes nothing when it fails.
    membership::set_own_network(Some(network))?;
    adopt_files();
    Ok(())
}

fn get_addresses(arg: usize) -> Result {
    let mut request: Addresses = read(arg)?;
    all_zero(&request.reserved)?;
    if request.broadcast != [0; 4] || request.loopback != [0; 4] || request.count > ADDRESSES_MAX {
        return Err(EINVAL);
    }
    let network = match request.pid {
        0 => membership::own_network(),
        1.. => membership::network(&*get_task(request.pid).ok_or(ESRCH)?),
        _ => return Err(EINVAL),
    };
    let room = request.count as usize;
    request.count = 0;
    if let Some(network) = network.filter(|network| network.is_confined()) {
        let addresses = network.addresses();
        let mut out = UserSlice::new(
            UserPtr::from_addr(request.buffer as usize),
            room * size_of::<Address>(),
        )
        .writer();
        for address in &addresses[..room.min(addresses.len())] {
            out.write_slice(address.as_bytes())?;
        }
        request.count = addresses.len() as u32;
        request.broadcast = network.broadcast().to_be_bytes();
        request.loopback = network.loopback().to_be_bytes();
    }
    write(arg, &request)
}

/// The most hooks that one call tells.
const HOOKS_MAX: u32 = 4096;

fn list_hooks(arg: usize) -> Result {
    let mut request: ListHooks = read(arg)?;
    all_zero(&request.reserved)?;
    if request.count == 0 || request.count > HOOKS_MAX {
        return Err(EINVAL);
    }
    if membership::own_context().is_some() || !linux::is_admin() {
        return Err(EPERM);
    }
    let length = request.count as usize * size_of::<HookInfo>();
    let mut out = UserSlice::new(UserPtr::from_addr(request.buffer as usize), length).writer();
    let room = request.count;
    request.count = 0;
    while request.count < room {
        let Some(info) = attach::hook_info::<hooks::All>(request.skip as usize) else {
            break;
        };
        out.write_slice(info.as_bytes())?;
        request.skip += 1;
        request.count += 1;
    }
    write(arg, &request)
}
