// SPDX-License-Identifier: GPL-2.0

//! One boot of a guest in QEMU: the ports, the console and its watch, the time limit.

use crate::{
    cache,
    console::ConsoleWatch,
    guest,
    kernel::{self, Lane, Purpose},
    log, step,
    terminal::Terminal,
};
use anyhow::{bail, Context, Result};
use nix::sys::signal::Signal;
use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        Mutex, PoisonError,
    },
    time::{Duration, Instant},
};

/// A guest whose kernel has complained may go on for this long: it may be stuck.
const AFTER_COMPLAINT: Duration = Duration::from_secs(300);

/// How a guest is to be booted.
pub struct Boot<'a> {
    /// The kernel and module.
    pub lane: Lane,
    /// What its console's log is called.
    pub name: &'a str,
    /// Another kernel, for a job that needs no module.
    pub image: Option<&'a Path>,
    /// A disk with a system that is booted instead of the guest's init and its job. It may reboot; what it writes to the
    /// disk goes with the machine.
    pub disk: Option<&'a Path>,
    /// What the guest's init is to do: see `qemu/init`.
    pub job: &'a str,
    /// More of the kernel's parameters.
    pub parameters: &'a str,
    /// Count instructions exactly.
    pub icount: bool,
    /// A folder to be seen at /vservers.
    pub vservers: Option<&'a Path>,
    /// A folder to be read at /servers.
    pub servers: Option<&'a Path>,
    /// A folder to be read at /inits.
    pub inits: Option<&'a Path>,
    /// The user's folder at /share.
    pub share: bool,
    /// A virtio console, which is this terminal.
    pub interactive: bool,
    /// Emulated processors run at the same time, each in a thread. Then QEMU now and then executes a piece of code
    /// that another processor has just patched, and the kernel dies of a breakpoint that is no longer there. (Seen
    /// once in some 500 switches of the static branch in kill_pid_info_type.)
    pub parallel: bool,
    /// After this the guest is stopped.
    pub limit: Duration,
}

/// What a guest left.
pub struct Outcome {
    /// What it wrote to its result port.
    pub results: String,
    /// Its standard output and error, from the ports of these names.
    pub stdout: PathBuf,
    /// As above.
    pub stderr: PathBuf,
    /// Lines of the console that mean trouble.
    pub alarms: Vec<String>,
    /// How it ended.
    pub end: End,
    /// The whole console.
    pub console: PathBuf,
}

/// How a machine ended.
pub enum End {
    /// QEMU exited with status 0: the guest powered off.
    PoweredOff,
    /// The runner stopped it; why.
    Stopped(String),
    /// QEMU failed: its status or the signal that ended it, and what it printed.
    Failed(String),
    /// QEMU misemulated: see [`Boot::parallel`].
    Misemulated,
}

/// What the kernel says when QEMU has executed a breakpoint that the kernel had already replaced.
const STALE_BREAKPOINT: &str = "Oops: int3";

impl End {
    /// Of a QEMU that the runner did not stop.
    fn of(status: ExitStatus, said: &str) -> Self {
        let how = match (status.signal(), status.code()) {
            (_, Some(0)) => return Self::PoweredOff,
            (Some(number), _) => {
                let name = Signal::try_from(number).map_or("unknown", Signal::as_str);
                let hint = match number {
                    9 => ", perhaps for lack of memory",
                    _ => "",
                };
                format!("QEMU was ended by signal {number} ({name}), not by the runner{hint}")
            }
            (None, code) => format!("QEMU exited with status {}", code.unwrap_or(-1)),
        };
        Self::Failed(match said.trim() {
            "" => how,
            said => format!("{how}: {said}"),
        })
    }

    /// What went wrong, if the machine did not power off.
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::PoweredOff => None,
            Self::Stopped(why) | Self::Failed(why) => Some(why),
            Self::Misemulated => Some("QEMU executed code that another processor had patched"),
        }
    }
}

impl Outcome {
    /// How the machine ended, and where its console is.
    pub fn ending(&self) -> String {
        format!(
            "{}; its console is in {}",
            self.end.trouble().unwrap_or("the machine powered off"),
            step::on_host(&self.console)
        )
    }
}

/// A work folder that goes when the run is over.
pub struct Work(PathBuf);

impl Work {
    /// Makes one in the cache.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let all = Path::new("/cache/run");
        fs::create_dir_all(all)?;
        for entry in fs::read_dir(all)? {
            // What a run that was killed left behind. Names are PID-NUMBER.
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.split('-').next().unwrap_or_default();
            if !Path::new("/proc").join(pid).exists() {
                // Another run may do the same.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let own = std::process::id();
        let path = all.join(format!("{own}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// KVM when a trial boot under it works, else TCG; `ACCEL` overrides.
fn accelerator(image: &Path) -> &'static str {
    // Lanes boot side by side; one trial is enough.
    static TRIAL: Mutex<()> = Mutex::new(());
    let _one = TRIAL.lock().unwrap_or_else(PoisonError::into_inner);
    match std::env::var("ACCEL").as_deref() {
        Ok("tcg") => return "tcg",
        Ok("kvm") => return "kvm",
        _ => {}
    }
    if !Path::new("/dev/kvm").exists() {
        return "tcg";
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let memo = PathBuf::from(format!("/cache/accel-{}", boot.trim()));
    if let Ok(known) = fs::read_to_string(&memo) {
        return if known == "kvm" { "kvm" } else { "tcg" };
    }
    eprintln!("==> trial boot under KVM ...");
    let works = trial(image).unwrap_or(false);
    eprintln!(
        "    {}",
        if works {
            "KVM works here and is used (ACCEL=tcg to override)"
        } else {
            "/dev/kvm is there but does not boot Linux: using TCG (ACCEL=kvm to override)"
        }
    );
    let name = if works { "kvm" } else { "tcg" };
    let _ = fs::write(memo, name);
    name
}

/// Without an initramfs the kernel panics at the end of its boot, and QEMU ends: that is success.
fn trial(image: &Path) -> Result<bool> {
    let (console, _) = log::create("kvm-trial")?;
    let mut child = Command::new("qemu-system-x86_64")
        .args([
            "-M",
            "q35,accel=kvm",
            "-cpu",
            "host",
            "-m",
            "512",
            "-no-reboot",
        ])
        .args(["-display", "none", "-monitor", "none", "-serial"])
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(image)
        .args(["-append", "console=ttyS0 panic=-1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(15) {
        if child.try_wait()?.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = child.kill();
    let _ = child.wait();
    let text = fs::read(&console).unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).contains("Kernel panic"))
}

/// A virtiofsd for a folder, ended when dropped.
struct Export(Child);

impl Drop for Export {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn export(folder: &Path, socket: &Path, options: &[&str]) -> Result<Export> {
    let child = Command::new("/usr/libexec/virtiofsd")
        .args(options)
        .arg(format!("--socket-path={}", socket.display()))
        .arg(format!("--shared-dir={}", folder.display()))
        .args(["--sandbox=none", "--log-level=error"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start virtiofsd")?;
    let export = Export(child);
    for _ in 0..100 {
        if socket.exists() {
            return Ok(export);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("virtiofsd does not serve {}", folder.display())
}

/// Boots and waits for the end.
///
/// `on_result` gets each line of the result port as it comes.
pub fn boot(boot: &Boot<'_>, work: &Path, on_result: &mut dyn FnMut(&str)) -> Result<Outcome> {
    let purpose = if boot.icount {
        Purpose::Measure
    } else {
        Purpose::Test
    };
    if boot.disk.is_none() {
        guest::programs()?;
    }
    cache::cargo_done()?;
    let image = match boot.image {
        Some(image) => image.to_path_buf(),
        None => kernel::kernel(boot.lane, purpose)?.image,
    };
    let accel = if boot.icount {
        "tcg"
    } else {
        accelerator(&image)
    };
    let (console, _) = log::create(&format!("console-{}", boot.name))?;
    let outcome = Outcome {
        results: String::new(),
        stdout: work.join("stdout"),
        stderr: work.join("stderr"),
        alarms: Vec::new(),
        end: End::PoweredOff,
        console: console.clone(),
    };
    let mut append = String::from("console=ttyS0 panic=-1 oops=panic");
    if accel == "tcg" {
        append += PATIENT;
    }
    // The guest ends with us, whatever we die of.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args(["-m", "2048", "-display", "none", "-monitor", "none"])
        .args(["-object", "memory-backend-memfd,id=mem,size=2048M,share=on"])
        .args(["-M", "q35,memory-backend=mem"])
        .args([
            "-accel",
            match (accel, boot.parallel) {
                ("kvm", _) => "kvm",
                (_, true) => "tcg,thread=multi",
                (_, false) => "tcg,thread=single",
            },
        ])
        .args([
            "-cpu",
            if accel == "kvm" {
                "host"
            } else if boot.icount {
                "qemu64"
            } else {
                EMULATED
            },
        ])
        .arg("-kernel")
        .arg(&image)
        .args(["-device", "virtio-serial-pci", "-device", "virtio-rng-pci"]);
    if let Some(disk) = boot.disk {
        // The one kind of disk that Debian's kernel knows without a module.
        command
            .args(["-device", "nvme,serial=vserver,drive=disk", "-drive"])
            .arg(format!(
                "if=none,id=disk,format=raw,snapshot=on,file={}",
                disk.display()
            ))
            .env("TMPDIR", work);
        append += " root=/dev/nvme0n1 rootfstype=ext4 rw";
    } else {
        let initramfs = guest::with_job(boot.lane, purpose, work, boot.job)?;
        command.arg("-no-reboot").arg("-initrd").arg(initramfs);
    }
    if boot.icount {
        command.args([
            "-icount",
            "shift=0,sleep=off",
            "-rtc",
            "clock=vm",
            "-smp",
            "1",
        ]);
        // Nothing random in the kernel's and the programs' addresses, no self-tests in the background,
        // as many places for UDP sockets as on a machine that has room for a thousand contexts, and the
        // guest's init (qemu/init) waits until the boot is over.
        append += " nokaslr norandmaps cryptomgr.notests uhash_entries=65536 settle=3";
    } else {
        command.args(["-smp", "2"]);
        // What virtiofsd writes into the guest's memory QEMU's translator does not see: in a page that had a program before, it
        // would go on with that one's code. The guest's own writes it sees, so pages are zeroed first, as in Debian's kernel.
        append += " init_on_alloc=1";
    }
    command
        .arg("-serial")
        .arg(format!("file:{}", console.display()));
    if !boot.parameters.is_empty() {
        append += " ";
        append += boot.parameters;
    }
    if boot.interactive {
        command
            .args(["-chardev", "stdio,id=tty,signal=off"])
            .args(["-device", "virtconsole,chardev=tty"]);
    }
    let results = work.join("results");
    for (name, path) in [
        ("results", &results),
        ("stdout", &outcome.stdout),
        ("stderr", &outcome.stderr),
    ] {
        command
            .arg("-chardev")
            .arg(format!("file,id={name},path={}", path.display()))
            .arg("-device")
            .arg(format!("virtserialport,chardev={name},name={name}"));
    }
    let mut exports = Vec::new();
    let share = boot.share.then_some(Path::new("/share"));
    // What nobody writes to need not be read again.
    let read_only: &[&str] = &["--readonly", "--cache=always"];
    let folders: [(&str, Option<&Path>, &[&str]); 4] = [
        ("vservers", boot.vservers, &[]),
        ("servers", boot.servers, read_only),
        ("inits", boot.inits, read_only),
        ("share", share, &[]),
    ];
    for (tag, folder, options) in folders {
        if let Some(folder) = folder {
            let socket = work.join(format!("{tag}.sock"));
            exports.push(export(folder, &socket, options)?);
            command
                .arg("-chardev")
                .arg(format!("socket,id={tag},path={}", socket.display()))
                .arg("-device")
                .arg(format!("vhost-user-fs-pci,chardev={tag},tag={tag}"));
        }
    }
    command.args(["-append", &append]);
    let log = File::create(work.join("qemu.log"))?;
    if boot.interactive {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
    } else {
        command.stdin(Stdio::null()).stdout(log.try_clone()?);
    }
    command.stderr(log);
    let mut child = command.spawn().context("cannot start qemu-system-x86_64")?;
    // Ours again when the guest has ended, however it does.
    let _terminal = if boot.interactive {
        Some(Terminal::lend(&mut child)?)
    } else {
        None
    };
    let mut outcome = watch(&mut child, boot, outcome, &results, on_result)?;
    let stale = |line: &String| line.contains(STALE_BREAKPOINT);
    if boot.parallel && accel == "tcg" && outcome.alarms.iter().any(stale) {
        outcome.end = End::Misemulated;
    }
    Ok(outcome)
}

/// The lines that are added to a file, as they come.
struct Tail {
    path: PathBuf,
    offset: u64,
    partial: String,
}

impl Tail {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            offset: 0,
            partial: String::new(),
        }
    }

    /// The lines that have become whole since the last call; at the end also what is left.
    fn lines(&mut self, last: bool) -> Result<Vec<String>> {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::Start(self.offset))?;
            self.offset += file.read_to_end(&mut bytes)? as u64;
        }
        self.partial += &String::from_utf8_lossy(&bytes);
        let mut lines = Vec::new();
        while let Some((line, rest)) = self.partial.split_once('\n') {
            lines.push(line.trim_end_matches('\r').to_string());
            self.partial = rest.to_string();
        }
        if last && !self.partial.is_empty() {
            lines.push(std::mem::take(&mut self.partial));
        }
        Ok(lines)
    }
}

fn watch(
    child: &mut Child,
    boot: &Boot<'_>,
    mut outcome: Outcome,
    results: &Path,
    on_result: &mut dyn FnMut(&str),
) -> Result<Outcome> {
    let start = Instant::now();
    let mut console = Tail::new(&outcome.console);
    let mut results = Tail::new(results);
    let mut watch = ConsoleWatch::default();
    let mut status = None;
    let mut stopped = None;
    loop {
        let last = status.is_some();
        for line in console.lines(last)? {
            watch.line(&line);
        }
        for line in results.lines(last)? {
            on_result(&line);
            outcome.results += &line;
            outcome.results.push('\n');
        }
        if last {
            break;
        }
        status = child.try_wait()?;
        if status.is_none() {
            stopped = reason_to_stop(&watch, start.elapsed(), boot.limit);
        }
        if stopped.is_some() {
            let _ = child.kill();
            status = Some(child.wait()?);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    outcome.alarms = watch.complaint;
    let said = fs::read_to_string(outcome.stdout.with_file_name("qemu.log")).unwrap_or_default();
    outcome.end = match (stopped, status) {
        (Some(why), _) => End::Stopped(why),
        (None, Some(status)) => End::of(status, &said),
        (None, None) => End::PoweredOff,
    };
    Ok(outcome)
}

/// A processor with all that QEMU emulates but for what it is slow at: the kernel copies and clears memory by single bytes where a
/// processor says that this is fast, and walks five levels of page tables where there are five. A quarter of a suite's time.
const EMULATED: &str = "max,-erms,-fsrm,-fzrm,-fsrs,-fsrc,-la57";

/// The kernel's watchdogs of an emulated machine. Where five machines share two busy processors, one can stand still for
/// longer than the 20 s after which a kernel takes a processor for stuck (an RCU stall, a soft lockup), or be too slow
/// for the check of its timer. What is really stuck is still told of, before a machine's limit.
const PATIENT: &str = " no_timer_check rcupdate.rcu_cpu_stall_timeout=150 watchdog_thresh=60 \
    sysctl.kernel.hung_task_timeout_secs=300";

/// Why the runner has to stop a machine that has run for so long, if it has to.
fn reason_to_stop(watch: &ConsoleWatch, ran: Duration, limit: Duration) -> Option<String> {
    if let Some((first, line)) = &watch.first {
        let waited = first.elapsed();
        if waited > AFTER_COMPLAINT {
            return Some(format!(
                "the runner stopped the machine, which had not ended {} s after its kernel complained: {line}",
                waited.as_secs()
            ));
        }
    }
    (ran > limit).then(|| {
        format!(
            "the runner stopped the machine at its limit of {} s",
            limit.as_secs()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_machine_ended() {
        let of = |raw, said| End::of(ExitStatus::from_raw(raw), said);
        assert!(matches!(of(0, "a warning"), End::PoweredOff));
        assert_eq!(
            of(1 << 8, "qemu: no such device\n").trouble(),
            Some("QEMU exited with status 1: qemu: no such device")
        );
        assert_eq!(
            of(11, "").trouble(),
            Some("QEMU was ended by signal 11 (SIGSEGV), not by the runner")
        );
        assert!(of(9, "")
            .trouble()
            .is_some_and(|why| why.contains("SIGKILL")));
    }

    #[test]
    fn what_stops_a_machine() {
        let limit = Duration::from_secs(100);
        let mut watch = ConsoleWatch::default();
        let reason =
            |watch: &ConsoleWatch, ran| reason_to_stop(watch, Duration::from_secs(ran), limit);
        assert_eq!(reason(&watch, 99), None);
        let late = reason(&watch, 101).unwrap_or_default();
        assert!(late.contains("limit of 100 s"), "{late}");
        let line = "[    3.000000] BUG: unable to handle page fault";
        watch.first = Instant::now()
            .checked_sub(AFTER_COMPLAINT)
            .map(|first| (first, line.to_string()));
        std::thread::sleep(Duration::from_millis(2));
        let hopeless = reason(&watch, 99).unwrap_or_default();
        assert!(
            hopeless.contains("300 s") && hopeless.ends_with(line),
            "{hopeless}"
        );
    }
}
