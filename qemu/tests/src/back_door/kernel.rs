// SPDX-License-Identifier: GPL-2.0

//! Facilities of the kernel that reach everywhere: what needs a capability that `--secure` withholds, what
//! is harmless, and the programs that the kernel starts.

use super::*;
use crate::{fixture::ensure, syscalls::own, test};
use nix::{
    sys::signal::{raise, Signal},
    unistd::{chdir, chroot},
};
use std::{ffi::CString, os::unix::fs::PermissionsExt};

pub const TESTS: &[Test] = &[
    test("back_door::calls_that_need_a_capability", 120, calls),
    test("back_door::mounts_of_the_machine", 120, mounts),
    test("back_door::binfmt_misc", 120, binfmt),
    test("back_door::perf", 120, perf),
    test("back_door::bpf", 120, bpf),
    test("back_door::userfaultfd", 120, userfaultfd),
    test("back_door::fanotify_and_inotify", 120, notify),
    test("back_door::core_dump_helper", 120, core_dump),
];

/// A call by its number, what it needs, and what it says to nonsense when it may be made.
type Call = (&'static str, i64, [usize; 5], Errno);

fn calls() -> Outcome {
    let (none, far) = (usize::MAX, 1usize << 62);
    let nothing = c"/none/such".as_ptr() as usize;
    let bin = c"/bin".as_ptr() as usize;
    // struct timex: a clock that ticks too fast.
    let mut clock = [0u32; 52];
    clock[0] = 0x4000;
    let table: [Call; 12] = [
        (
            "finit_module",
            libc::SYS_finit_module,
            [none, nothing, 0, 0, 0],
            Errno::EBADF,
        ),
        (
            "delete_module",
            libc::SYS_delete_module,
            [far, 0, 0, 0, 0],
            Errno::EFAULT,
        ),
        (
            "kexec_load",
            libc::SYS_kexec_load,
            [0, 99, 0, 0, 0],
            Errno::EINVAL,
        ),
        // For no capability: in a context without a process 1 there is none to be ended.
        ("reboot", libc::SYS_reboot, [1, 2, 3, 0, 0], Errno::EPERM),
        (
            "swapon",
            libc::SYS_swapon,
            [nothing, 0, 0, 0, 0],
            Errno::ENOENT,
        ),
        ("acct", libc::SYS_acct, [nothing, 0, 0, 0, 0], Errno::ENOENT),
        (
            "adjtimex",
            libc::SYS_adjtimex,
            [clock.as_ptr() as usize, 0, 0, 0, 0],
            Errno::EINVAL,
        ),
        ("syslog", libc::SYS_syslog, [8, 0, 99, 0, 0], Errno::EINVAL),
        (
            "mount",
            libc::SYS_mount,
            [nothing, bin, nothing, 0, 0],
            Errno::ENODEV,
        ),
        (
            "umount2",
            libc::SYS_umount2,
            [bin, 0, 0, 0, 0],
            Errno::EINVAL,
        ),
        (
            "fsopen",
            libc::SYS_fsopen,
            [nothing, 0, 0, 0, 0],
            Errno::ENODEV,
        ),
        (
            "pivot_root",
            libc::SYS_pivot_root,
            [bin, bin, 0, 0, 0],
            Errno::EBUSY,
        ),
    ];
    let all = |expected: fn(Errno) -> Errno, table: &[Call]| {
        for (name, number, arguments, said) in table {
            let got = call(*number, arguments).map(drop);
            match got {
                // Built without it.
                Err(Errno::ENOSYS) => {}
                _ => equal(name, got, Err(expected(*said)))?,
            }
        }
        Ok(())
    };
    inside_without(100, SECURE, || all(|_| Errno::EPERM, &table))?;
    // With the capabilities it is as good as the host: the kernel gets as far as to see the nonsense.
    inside_without(100, 0, || all(|said| said, &table))?;
    // A user namespace has all capabilities, over nothing of the host's.
    inside_without(100, SECURE, || {
        own_user_namespace(CloneFlags::empty())?;
        all(|_| Errno::EPERM, &table)
    })
}

/// File systems that are the machine's.
fn mounts() -> Outcome {
    const PLACE: &str = "/tmp/mounts";
    let kinds = [
        "debugfs",
        "tracefs",
        "securityfs",
        "configfs",
        "devtmpfs",
        "bpf",
        "pstore",
    ];
    child(|| {
        place(PLACE)?;
        let attempt = |kind: &str| {
            let got = try_mount(Some(kind), PLACE, MsFlags::empty());
            if got.is_ok() {
                nix::mount::umount(PLACE).map_err(words)?;
            }
            Ok::<_, String>(got)
        };
        let host: Vec<&str> = kinds
            .into_iter()
            .filter(|kind| attempt(kind).is_ok_and(|got| got.is_ok()))
            .collect();
        ensure(
            &format!("{host:?}"),
            host.contains(&"debugfs") && host.contains(&"devtmpfs"),
        )?;
        let refused = |more: &[&str]| {
            for kind in host.iter().chain(more) {
                let got = attempt(kind)?;
                ensure(&format!("{kind}: {got:?}"), got == Err(Errno::EPERM))?;
            }
            Ok::<_, String>(())
        };
        inside_without(100, SECURE, || {
            refused(&["proc", "sysfs", "tmpfs", "cgroup2"])
        })?;
        inside_without(100, SECURE, || {
            own_user_namespace(CloneFlags::CLONE_NEWNS)?;
            mounted(None, "/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
            equal("tmpfs", attempt("tmpfs")?, Ok(()))?;
            // Of namespaces that are not his.
            refused(&["proc", "sysfs"])
        })?;
        Ok(String::new())
    })
    .map(drop)
}

/// Programs that run others, for the whole machine, or for one user namespace.
fn binfmt() -> Outcome {
    const PLACE: &str = "/tmp/binfmt";
    child(|| {
        place(PLACE)?;
        let attempt = || try_mount(Some("binfmt_misc"), PLACE, MsFlags::empty());
        // A kernel may have it as a module that is not here.
        let host = match attempt() {
            Err(Errno::ENODEV) => false,
            other => {
                other.map_err(words)?;
                true
            }
        };
        let register = |name: &str| {
            let text = format!(":{name}:M::backdoor::/bin/true:");
            errno(fs::write(format!("{PLACE}/register"), text))
        };
        let program = format!("{PLACE}-program");
        fs::write(&program, "backdoor").map_err(words)?;
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).map_err(words)?;
        let runs = || std::process::Command::new(&program).status().is_ok();
        if host {
            register("host").map_err(words)?;
            ensure("on the host", runs())?;
            fs::write(format!("{PLACE}/host"), "-1").map_err(words)?;
            nix::mount::umount(PLACE).map_err(words)?;
        }
        ensure("nobody runs it", !runs())?;
        inside_without(100, SECURE, || equal("mount", attempt(), Err(Errno::EPERM)))?;
        let sitter = crate::fixture::Sitter::new(100, 0, || {
            enter(CONTEXT_STAY, 0, SECURE).map_err(words)?;
            own_user_namespace(CloneFlags::CLONE_NEWNS)?;
            mounted(None, "/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
            if !host {
                return equal("mount", attempt(), Err(Errno::ENODEV));
            }
            attempt().map_err(words)?;
            register("inside").map_err(words)?;
            ensure("in his own namespace", runs())
        })?;
        // It is there for him, and for nobody else while he is there.
        ensure("for the host, too", !runs())?;
        inside_without(100, SECURE, || ensure("for his context", !runs()))?;
        drop(sitter);
        fs::remove_file(&program).map_err(words)?;
        Ok(String::new())
    })
    .map(drop)
}

/// Of a whole processor; of a foreign process: pid::perf_event_open.
fn perf() -> Outcome {
    let everything = || {
        // struct perf_event_attr: software event, its size, the CPU clock.
        let mut attribute = [0u32; 32];
        attribute[..2].copy_from_slice(&[1, 128]);
        let arguments = [attribute.as_ptr() as usize, usize::MAX, 0, usize::MAX, 0];
        call(libc::SYS_perf_event_open, &arguments).map(|fd| drop(own(fd as i32)))
    };
    equal("on the host", everything(), Ok(()))?;
    inside_without(100, SECURE, || {
        let refused = |got: Result<(), Errno>| {
            let said = matches!(got, Err(Errno::EACCES | Errno::EPERM));
            ensure(&format!("{got:?}"), said)
        };
        refused(everything())?;
        own_user_namespace(CloneFlags::empty())?;
        refused(everything())
    })?;
    inside_without(100, 0, || equal("with CAP_PERFMON", everything(), Ok(())))
}

/// Programs in the kernel, and what others have given to it.
fn bpf() -> Outcome {
    let request = |command: usize, attributes: &[u32; 36]| {
        let arguments = [
            command,
            attributes.as_ptr() as usize,
            size_of_val(attributes),
        ];
        call(libc::SYS_bpf, &arguments)
    };
    // BPF_MAP_CREATE: an array of one.
    let mut array = [0u32; 36];
    array[..4].copy_from_slice(&[2, 4, 4, 1]);
    let map = request(0, &array).map(|fd| own(fd as i32)).map_err(words)?;
    // BPF_OBJ_GET_INFO_BY_FD: struct bpf_map_info, of which the second word is the number.
    let info = [0u32; 32];
    let address = info.as_ptr() as u64;
    let mut ask = [0u32; 36];
    ask[..4].copy_from_slice(&[
        map.as_raw_fd() as u32,
        128,
        address as u32,
        (address >> 32) as u32,
    ]);
    request(15, &ask).map_err(words)?;
    let number = std::hint::black_box(&info)[1];
    // A program of one instruction: exit.
    let code = [0x95u64, 0];
    let load = |kind: u32| {
        let (code, license) = (code.as_ptr() as u64, c"GPL".as_ptr() as u64);
        let mut program = [0u32; 36];
        program[..6].copy_from_slice(&[
            kind,
            1,
            code as u32,
            (code >> 32) as u32,
            license as u32,
            (license >> 32) as u32,
        ]);
        // Nonsense to the verifier, which is asked after the capability.
        request(5, &program).map(|fd| drop(own(fd as i32)))
    };
    let by_number = || {
        let mut get = [0u32; 36];
        get[0] = number;
        request(14, &get).map(|fd| drop(own(fd as i32)))
    };
    equal("on the host", by_number(), Ok(()))?;
    // Of kprobes and of tracepoints.
    let kinds = [2, 5];
    let refused = || {
        equal("next", request(12, &[0; 36]).map(drop), Err(Errno::EPERM))?;
        equal("by number", by_number(), Err(Errno::EPERM))?;
        for kind in kinds {
            equal("load", load(kind), Err(Errno::EPERM))?;
        }
        Ok::<_, String>(())
    };
    inside_without(100, SECURE, refused)?;
    inside_without(100, SECURE, || {
        own_user_namespace(CloneFlags::empty())?;
        refused()
    })?;
    inside_without(100, 0, || {
        equal("with every capability", by_number(), Ok(()))?;
        for kind in kinds {
            let got = load(kind);
            ensure(&format!("{got:?}"), !matches!(got, Err(Errno::EPERM)))?;
        }
        Ok(())
    })
}

/// Page faults in one's own memory are all that it is about.
fn userfaultfd() -> Outcome {
    let make = |flags: i32| call(libc::SYS_userfaultfd, &[flags as usize]).map(|fd| own(fd as i32));
    const USER_MODE_ONLY: i32 = 1;
    const CAP_SYS_PTRACE: u64 = 1 << 19;
    let api = |file: &OwnedFd| {
        let mut request = [0xaau64, 0, 0];
        crate::syscalls::ioctl(file, 0xc018_aa3f, &mut request).map(drop)
    };
    // UFFDIO_REGISTER of pages that wait to be filled.
    let register = |file: &OwnedFd, start: usize| {
        let mut request = [start as u64, 4096, 1, 0];
        crate::syscalls::ioctl(file, 0xc020_aa00, &mut request).map(drop)
    };
    let page = || {
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
        let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
        let at = call(libc::SYS_mmap, &[0, 4096, protection, flags, usize::MAX, 0]);
        at.map(|at| at as usize)
    };
    inside_without(100, SECURE, || {
        let file = make(USER_MODE_ONLY).map_err(words)?;
        api(&file).map_err(words)?;
        register(&file, page().map_err(words)?).map_err(words)?;
        // What is not mapped here is nobody's memory.
        equal("elsewhere", register(&file, 4096), Err(Errno::EINVAL))
    })?;
    // Faults of the kernel itself need CAP_SYS_PTRACE, as on the host.
    let kernel = || make(0).map(drop);
    inside_without(100, SECURE, || equal("kernel", kernel(), Ok(())))?;
    inside_without(100, SECURE | CAP_SYS_PTRACE, || {
        equal("without CAP_SYS_PTRACE", kernel(), Err(Errno::EPERM))
    })
}

/// News of files come from what one can name.
fn notify() -> Outcome {
    const PLACE: &str = "/tmp/notify";
    let fanotify =
        |flags: usize| call(libc::SYS_fanotify_init, &[flags, 0]).map(|fd| own(fd as i32));
    let path = |text: &str| CString::new(text).map_err(words);
    let mark = |group: &OwnedFd, flags: usize, what: &str| {
        let what = path(what)?;
        let create = 0x100;
        let arguments = [
            group.as_raw_fd() as usize,
            1 | flags,
            create,
            libc::AT_FDCWD as usize,
            what.as_ptr() as usize,
        ];
        Ok::<_, String>(call(libc::SYS_fanotify_mark, &arguments).map(drop))
    };
    let (by_number, contents, everything, file_system) = (0x200, 4, 0, 0x100);
    child(|| {
        place(PLACE)?;
        for folder in ["guest", "host"] {
            fs::create_dir(format!("{PLACE}/{folder}")).map_err(words)?;
        }
        // On the host the files themselves are handed out.
        for flags in [everything, contents] {
            fanotify(flags).map_err(words)?;
        }
        let tree = fanotify(by_number).map_err(words)?;
        equal("file system", mark(&tree, file_system, PLACE)?, Ok(()))?;
        let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().map_err(words)?;
        let sitter = crate::fixture::Sitter::new(100, 0, || {
            enter(CONTEXT_STAY, 0, SECURE).map_err(words)?;
            chroot(format!("{PLACE}/guest").as_str()).map_err(words)?;
            chdir("/").map_err(words)?;
            for flags in [everything, contents] {
                equal("files", fanotify(flags).map(drop), Err(Errno::EPERM))?;
            }
            let group = fanotify(by_number).map_err(words)?;
            for flags in [file_system, 0x10] {
                equal("all of it", mark(&group, flags, "/")?, Err(Errno::EPERM))?;
            }
            let outside = mark(&group, 0, "/../host")?;
            equal("outside", outside, Err(Errno::ENOENT))?;
            let inotify = call(libc::SYS_inotify_init1, &[0]).map(|fd| own(fd as i32));
            let inotify = inotify.map_err(words)?;
            let name = path("/../host")?;
            let arguments = [inotify.as_raw_fd() as usize, name.as_ptr() as usize, 0xfff];
            let watched = call(libc::SYS_inotify_add_watch, &arguments).map(drop);
            equal("outside", watched, Err(Errno::ENOENT))?;
            equal("own", mark(&group, 0, "/")?, Ok(()))?;
            std::thread::spawn(move || {
                use std::io::{Read, Write};
                let mut event = [0u8; 256];
                let _ = fs::File::from(group).read(&mut event);
                let _ = theirs.write_all(&event[..24]);
            });
            Ok(())
        })?;
        // Somebody of the host makes a file there.
        fs::write(format!("{PLACE}/guest/made"), "x").map_err(words)?;
        let mut event = [0u8; 24];
        std::io::Read::read_exact(&mut ours, &mut event).map_err(words)?;
        drop(sitter);
        // Neither a descriptor nor who it was.
        equal(
            "descriptor",
            event[16..20].to_vec(),
            (-1i32).to_ne_bytes().to_vec(),
        )?;
        equal("process", event[20..24].to_vec(), vec![0; 4])?;
        Ok(String::new())
    })
    .map(drop)
}

/// The program that takes a core dump is the host's, in context 0: so nobody inside may name it.
fn core_dump() -> Outcome {
    const PATTERN: &str = "/proc/sys/kernel/core_pattern";
    const HELPER: &str = "/tmp/core-helper";
    const TOLD: &str = "/tmp/core-helper-told";
    let before = fs::read_to_string(PATTERN).map_err(words)?;
    let script = format!(
        "#!/bin/sh\ncat > /dev/null\n\
         {{ grep s_context /proc/self/status; ls -d /proc/$1; echo end; }} > {TOLD}.new 2>&1\n\
         mv {TOLD}.new {TOLD}\n"
    );
    fs::write(HELPER, script).map_err(words)?;
    fs::set_permissions(HELPER, PermissionsExt::from_mode(0o755)).map_err(words)?;
    let run = || {
        fs::write(PATTERN, format!("|{HELPER} %P")).map_err(words)?;
        let crashed = inside_without(100, SECURE, || {
            equal("pattern", opened_to_write(PATTERN), Err(Errno::EACCES))?;
            raise(Signal::SIGABRT).map_err(words)
        });
        let crashed = crashed.err().unwrap_or_default();
        ensure(&crashed, crashed.contains("SIGABRT"))?;
        for _ in 0..3000 {
            if let Ok(told) = fs::read_to_string(TOLD) {
                let named = told.contains("s_context: 0\n") && told.contains("No such file");
                return ensure(&told, named);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Err("the helper was not started".to_string())
    };
    let outcome = run();
    fs::write(PATTERN, before.trim_end()).map_err(words)?;
    for file in [HELPER, TOLD] {
        let _ = fs::remove_file(file);
    }
    outcome
}
