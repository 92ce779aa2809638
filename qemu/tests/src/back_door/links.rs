// SPDX-License-Identifier: GPL-2.0

//! What leads out of a root directory without a walk: the program that a process was started by, the root
//! of a process that has just entered, descriptors that were handed in.

use super::*;
use crate::{fixture::ensure, test};
use nix::{
    sys::{
        memfd::{memfd_create, MFdFlags},
        signal::{kill, Signal},
    },
    unistd::{chdir, chroot, pipe, Pid},
};
use std::{
    ffi::{CStr, CString},
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
};

pub const TESTS: &[Test] = &[
    test("back_door::program_of_the_host", 120, program),
    test("back_door::interpreter_proc_self_exe", 120, interpreter),
    test("back_door::descriptors_handed_in", 120, descriptors),
    test("back_door::descriptors_mounted", 60, descriptors_mounted),
    test("back_door::descriptors_of_ones_own", 120, own_descriptors),
    test(
        "back_door::commands_pass_on_what_they_were_given",
        60,
        passed_on,
    ),
];

const PLACE: &str = "/tmp/links";
const GUEST: &str = "/tmp/links/guest";
const PROGRAM: &str = "/tmp/links/host/busybox";
const SECRET: &str = "/tmp/links/host/secret";

/// A host's program and file, and beside them the root directory of a vserver.
fn furnished(run: impl FnOnce() -> Outcome) -> Outcome {
    child(|| {
        place(PLACE)?;
        for folder in ["host", "guest", "guest/proc", "guest/bin"] {
            fs::create_dir(format!("{PLACE}/{folder}")).map_err(words)?;
        }
        fs::copy("/bin/busybox", PROGRAM).map_err(words)?;
        fs::copy("/bin/busybox", format!("{GUEST}/bin/sh")).map_err(words)?;
        fs::write(SECRET, "secret").map_err(words)?;
        mounted(Some("proc"), &format!("{GUEST}/proc"), MsFlags::empty())?;
        run().map(|()| String::new())
    })
    .map(drop)
}

/// Runs something as root in that directory: in a context, or in a plain chroot.
fn in_guest(context: i32, run: impl FnOnce() -> Outcome) -> Outcome {
    let context = if context == CONTEXT_ROOT {
        CONTEXT_STAY
    } else {
        context
    };
    inside_without(context, SECURE, || {
        chroot(GUEST).map_err(words)?;
        chdir("/").map_err(words)?;
        run()
    })
}

/// A program of the host that has not left the host's root directory.
struct Victim(Child);

impl Victim {
    fn new(context: i32) -> Result<Self, String> {
        let mut command = Command::new("chcontext");
        let number = if context == CONTEXT_ROOT {
            "-2".to_string()
        } else {
            context.to_string()
        };
        command.args([
            "--silent", "--secure", "--ctx", &number, PROGRAM, "sleep", "1000",
        ]);
        command.stdin(Stdio::piped()).current_dir("/tmp/links/host");
        Ok(Self(command.spawn().map_err(words)?))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    /// Waits, where it can be seen, until it is what it is to be.
    fn is_running(&self) -> Outcome {
        let path = format!("/proc/{}/comm", self.pid());
        for _ in 0..3000 {
            if fs::read_to_string(&path).is_ok_and(|name| name == "busybox\n") {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Err("the program does not start".to_string())
    }

    fn link(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Whoever does not see it has no other way: its own context ends it.
        if kill(self.pid(), Signal::SIGKILL).is_err() {
            let _ = inside_without(100, 0, || kill(self.pid(), Signal::SIGKILL).map_err(words));
        }
        let _ = self.0.wait();
    }
}

/// Takes hold of the program of a process, ends that, and writes to the program.
fn overwrite(victim: &Victim) -> Result<(), Errno> {
    let program = opened(&victim.link("exe"), OFlag::O_PATH)?;
    kill(victim.pid(), Signal::SIGKILL)?;
    loop {
        match opened(&link_of(&program), OFlag::O_WRONLY | OFlag::O_TRUNC) {
            // Until the last page of it is gone.
            Err(Errno::ETXTBSY) => std::thread::sleep(std::time::Duration::from_millis(10)),
            Err(error) => return Err(error),
            Ok(file) => return nix::unistd::write(&file, b"#!/bin/owned").map(drop),
        }
    }
}

fn program() -> Outcome {
    furnished(|| {
        let whole = fs::metadata(PROGRAM).map_err(words)?.len();
        let victim = Victim::new(100)?;
        in_guest(100, || {
            victim.is_running()?;
            equal("overwritten", overwrite(&victim), Err(Errno::EACCES))
        })?;
        equal("length", fs::metadata(PROGRAM).map_err(words)?.len(), whole)?;
        drop(victim);
        // In a plain chroot it is a way out.
        let victim = Victim::new(CONTEXT_ROOT)?;
        in_guest(CONTEXT_ROOT, || {
            victim.is_running()?;
            overwrite(&victim).map_err(words)
        })?;
        same(
            "program",
            fs::read_to_string(PROGRAM).map_err(words),
            "#!/bin/owned",
        )
    })
}

/// A program inside that is begun by its own link, so that the host's program which starts it starts
/// itself once more, inside.
fn interpreter() -> Outcome {
    furnished(|| {
        let trick = format!("{GUEST}/trick");
        fs::write(&trick, "#!/proc/self/exe\n").map_err(words)?;
        fs::set_permissions(&trick, PermissionsExt::from_mode(0o755)).map_err(words)?;
        let run = |words_of: &[&str]| {
            let mut command = Command::new(words_of[0]);
            command
                .args(&words_of[1..])
                .args(["chroot", GUEST, "/trick"]);
            let output = command.output().map_err(words)?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok::<_, String>((output.status.code(), said))
        };
        let (_, said) = run(&[PROGRAM])?;
        // That is the host's program, which has no applet of this name.
        ensure(&said, said.contains("exe: applet not found"))?;
        let (code, said) = run(&["chcontext", "--silent", "--secure", "--ctx", "100", PROGRAM])?;
        ensure(&said, said.contains("Permission denied"))?;
        equal("code", code, Some(126))
    })
}

/// linkat() of an open file.
fn link_by(from: &OwnedFd, to: &str, empty: bool) -> Result<(), Errno> {
    let link = if empty { String::new() } else { link_of(from) };
    let flags = if empty {
        libc::AT_EMPTY_PATH
    } else {
        libc::AT_SYMLINK_FOLLOW
    };
    let link = CString::new(link).map_err(|_| Errno::EINVAL)?;
    let to = CString::new(to).map_err(|_| Errno::EINVAL)?;
    let arguments = [
        from.as_raw_fd() as usize,
        link.as_ptr() as usize,
        libc::AT_FDCWD as usize,
        to.as_ptr() as usize,
        flags as usize,
    ];
    call(libc::SYS_linkat, &arguments).map(drop)
}

const O_EMPTYPATH: i32 = 1 << 26;

fn by_name(folder: &OwnedFd, name: &CStr, flags: i32) -> Result<(), Errno> {
    let (folder, name) = (folder.as_raw_fd() as usize, name.as_ptr() as usize);
    let number = call(libc::SYS_openat, &[folder, name, flags as usize])?;
    drop(crate::syscalls::own(number as i32));
    Ok(())
}

/// openat() of an open file anew, without a name.
fn by_empty_path(file: &OwnedFd, flags: i32) -> Result<(), Errno> {
    by_name(file, c"", flags | O_EMPTYPATH)
}

/// The same by io_uring.
fn by_ring(file: &OwnedFd, flags: i32) -> Result<(), Errno> {
    let how = io_uring::types::OpenHow::new().flags((flags | O_EMPTYPATH) as u64);
    let file = io_uring::types::Fd(file.as_raw_fd());
    let entry = io_uring::opcode::OpenAt2::new(file, c"".as_ptr(), &how).build();
    let mut ring = io_uring::IoUring::new(2).map_err(|_| Errno::ENOSYS)?;
    crate::syscalls::uring(&mut ring, &entry)
        .map(crate::syscalls::own)
        .map(drop)
}

/// execveat() of an open file, as far as the check for it (AT_EXECVE_CHECK).
fn executed(file: &OwnedFd) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH as usize | 0x10000;
    let none = [0usize];
    let arguments = [
        file.as_raw_fd() as usize,
        c"".as_ptr() as usize,
        none.as_ptr() as usize,
        none.as_ptr() as usize,
        flags,
    ];
    call(libc::SYS_execveat, &arguments).map(drop)
}

/// Memory of an open file, which is made writable afterwards.
fn mapped_again(file: &OwnedFd) -> Result<(), Errno> {
    let (read, write) = (libc::PROT_READ as usize, libc::PROT_WRITE as usize);
    let shared = libc::MAP_SHARED as usize;
    let memory = call(
        libc::SYS_mmap,
        &[0, 4096, read, shared, file.as_raw_fd() as usize, 0],
    )?;
    call(libc::SYS_mprotect, &[memory as usize, 4096, read | write]).map(drop)
}

/// open_tree() and move_mount(): a mount of an open file at a place of the caller's own.
fn mounted_again(file: &OwnedFd, to: &str) -> Result<(), Errno> {
    const OPEN_TREE: i64 = 428;
    const MOVE_MOUNT: i64 = 429;
    let (nothing, here) = (c"".as_ptr() as usize, libc::AT_FDCWD as usize);
    // OPEN_TREE_CLONE
    let flags = libc::AT_EMPTY_PATH as usize | 1;
    let tree = call(OPEN_TREE, &[file.as_raw_fd() as usize, nothing, flags])?;
    let tree = crate::syscalls::own(tree as i32);
    let name = CString::new(to).map_err(|_| Errno::EINVAL)?;
    errno(fs::write(to, ""))?;
    // MOVE_MOUNT_F_EMPTY_PATH
    let arguments = [
        tree.as_raw_fd() as usize,
        nothing,
        here,
        name.as_ptr() as usize,
        4,
    ];
    call(MOVE_MOUNT, &arguments).map(drop)
}

/// The same with every capability.
fn descriptors_mounted() -> Outcome {
    furnished(|| {
        // A mount can be made only of what is in the caller's own namespace: so the file is opened there.
        unshare(CloneFlags::CLONE_NEWNS).map_err(words)?;
        mounted(None, "/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
        for (context, expected) in [(100, Err(Errno::EACCES)), (CONTEXT_STAY, Ok(()))] {
            let file = opened(SECRET, OFlag::O_RDONLY).map_err(words)?;
            inside_without(context, 0, || {
                chroot(GUEST).map_err(words)?;
                chdir("/").map_err(words)?;
                equal("mounted", mounted_again(&file, "/mounted"), expected)?;
                equal("anew", by_empty_path(&file, libc::O_RDWR), expected)?;
                fs::write("/own", "x").map_err(words)?;
                let own = opened("/own", OFlag::O_RDONLY).map_err(words)?;
                let to = format!("/mounted-own-{context}");
                equal("its own", mounted_again(&own, &to), Ok(()))
            })?;
        }
        Ok(())
    })
}

/// What was handed in can be used, and not be opened anew.
fn descriptors() -> Outcome {
    furnished(|| {
        for (context, expected) in [(100, Err(Errno::EACCES)), (CONTEXT_ROOT, Ok(()))] {
            let file = opened(SECRET, OFlag::O_RDONLY).map_err(words)?;
            let folder = opened(&format!("{PLACE}/host"), OFlag::O_PATH).map_err(words)?;
            let program = opened(PROGRAM, OFlag::O_RDONLY).map_err(words)?;
            in_guest(context, || {
                let mut text = String::new();
                fs::File::from(file.try_clone().map_err(words)?)
                    .read_to_string(&mut text)
                    .map_err(words)?;
                equal("handed in", text.as_str(), "secret")?;
                for flags in [
                    OFlag::O_RDONLY,
                    OFlag::O_WRONLY,
                    OFlag::O_RDWR,
                    OFlag::O_PATH,
                ] {
                    let got = opened(&link_of(&file), flags).map(drop);
                    equal(&format!("anew {flags:?}"), got, expected)?;
                }
                let below = format!("{}/secret", link_of(&folder));
                equal("below", opened(&below, OFlag::O_RDONLY).map(drop), expected)?;
                let above = format!("{}/..", link_of(&folder));
                equal("above", opened(&above, OFlag::O_PATH).map(drop), expected)?;
                let entered = chdir(link_of(&folder).as_str());
                chdir("/").map_err(words)?;
                equal("chdir", entered, expected)?;
                let name = expected.map_or(Errno::EPERM, |()| Errno::UnknownErrno);
                for (flags, anew) in [
                    (libc::O_RDONLY, by_empty_path(&file, libc::O_RDONLY)),
                    (libc::O_RDWR, by_empty_path(&file, libc::O_RDWR)),
                    (libc::O_PATH, by_empty_path(&file, libc::O_PATH)),
                ] {
                    equal(&format!("anew {flags:x} by no path"), anew, expected)?;
                }
                // A ring takes no empty name, on the host neither. A kernel in which it does is to be looked at.
                let by_ring = by_ring(&file, libc::O_RDWR);
                equal("anew by a ring", by_ring, Err(Errno::ENOENT))?;
                equal("executed", executed(&program), expected)?;
                equal(
                    "mapped to be written",
                    mapped_again(&file),
                    Err(Errno::EACCES),
                )?;
                let dot = by_name(&folder, c".", libc::O_RDONLY | libc::O_DIRECTORY);
                equal("a folder", dot, Ok(()))?;
                let dot = by_empty_path(&folder, libc::O_RDONLY | libc::O_DIRECTORY);
                equal("a folder by no path", dot, Ok(()))?;
                let linked = link_by(&file, "/linked", true);
                equal("linked", linked, expected.map_err(|_| name))?;
                let linked = link_by(&file, "/linked2", false);
                equal("linked by name", linked, expected)?;
                // A name of the host in the caller's own folder is none that he could not have.
                equal("own", fs::write("/own", "x").is_ok(), true)
            })?;
        }
        Ok(())
    })
}

/// One's own, and what has no place in any file system, is as ever.
fn own_descriptors() -> Outcome {
    furnished(|| {
        let memory = memfd_create(c"handed in", MFdFlags::MFD_CLOEXEC).map_err(words)?;
        nix::unistd::write(&memory, b"memory").map_err(words)?;
        in_guest(100, || {
            let both = OFlag::O_RDWR;
            let again = |what: &str, file: &OwnedFd| {
                let got = opened(&link_of(file), both).map(drop);
                got.map_err(|errno| format!("{what}: {errno}"))?;
                let got = by_empty_path(file, both.bits());
                got.map_err(|errno| format!("{what} by no path: {errno}"))
            };
            fs::write("/own", "own").map_err(words)?;
            let file = opened("/own", OFlag::O_RDONLY).map_err(words)?;
            again("a file", &file)?;
            link_by(&file, "/own2", true).map_err(words)?;
            link_by(&file, "/own3", false).map_err(words)?;
            for name in ["/own", "/own2", "/own3"] {
                fs::remove_file(name).map_err(words)?;
            }
            again("a file that is gone", &file)?;
            let mode = Mode::S_IRUSR | Mode::S_IWUSR;
            let nameless = open("/", both | OFlag::O_TMPFILE, mode).map_err(words)?;
            again("a nameless file", &nameless)?;
            link_by(&nameless, "/named", false).map_err(words)?;
            again("memory", &memory)?;
            let (reader, mut writer) =
                pipe().map(|(r, w)| (r, fs::File::from(w))).map_err(words)?;
            again("a pipe", &reader)?;
            writer.write_all(b"x").map_err(words)?;
            for link in ["exe", "root", "cwd", "ns/mnt", "ns/uts"] {
                let path = format!("/proc/self/{link}");
                match link {
                    // The tests are the host's program.
                    "exe" => {
                        let got = opened(&path, OFlag::O_RDONLY).map(drop);
                        equal("exe", got, Err(Errno::EACCES))?;
                    }
                    _ => drop(opened(&path, OFlag::O_RDONLY).map_err(words)?),
                }
            }
            // Who has a root directory of his own makes no user namespace.
            let got = unshare(CloneFlags::CLONE_NEWUSER);
            equal("a user namespace", got, Err(Errno::EPERM))
        })?;
        // A mount namespace of one's own, where all mounts are others.
        inside_without(100, 0, || {
            chroot(GUEST).map_err(words)?;
            chdir("/").map_err(words)?;
            let file = opened("/named", OFlag::O_RDONLY).map_err(words)?;
            unshare(CloneFlags::CLONE_NEWNS).map_err(words)?;
            opened(&link_of(&file), OFlag::O_RDWR).map_err(words)?;
            chdir("/proc/self/cwd").map_err(words)
        })
    })
}

/// Neither the device nor anything else is left open for the command.
fn passed_on() -> Outcome {
    let listed = |prefix: &str| {
        let line = format!("exec 7</etc/vserver-job; {prefix} ls /proc/self/fd");
        let output = Command::new("sh")
            .args(["-c", &line])
            .output()
            .map_err(words)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure(&said, output.status.success() && said.is_empty())?;
        Ok::<_, String>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let plain = listed("")?;
    ensure(&plain, plain.lines().any(|line| line == "7"))?;
    for command in [
        "chcontext --silent --ctx 100",
        "chcontext --silent --secure --ctx 100 --hostname x --domainname y",
        "chcontext --silent --ctx 100 --ip 127.0.0.1",
        "chbind --silent --ip 127.0.0.1",
        "reducecap --secure",
    ] {
        equal(command, listed(command)?, plain.clone())?;
    }
    Ok(())
}
