// SPDX-License-Identifier: GPL-2.0

//! `docs/benchmarks.md` from what was measured. The same numbers give the same bytes.

use super::{Measured, Situation};
use crate::kernel::Lane;
use anyhow::{ensure, Result};
use std::fmt::Write as _;
use vserver_probe::grouped;

/// What a row may cost more with the module than without.
#[derive(Clone, Copy)]
enum Allowed {
    /// No hook is on the way.
    Nothing,
    /// The same, but for the sockets of contexts.
    NothingOutside,
    /// A hook is on the way of callers outside, for [`HOOKED`] instructions or one hundredth; those inside pay what they must.
    Hooked,
    /// So many hundredths.
    Percent(u64),
    /// Shown without a target.
    Anything,
}

/// What one hook may cost a caller outside.
const HOOKED: i128 = 12;

/// The rows of the table of system calls, by the probe's names, and what they may cost.
const CALLS: [(&str, Allowed); 34] = [
    ("getpid", Allowed::Nothing),
    ("getppid", Allowed::Nothing),
    ("getpgrp", Allowed::Nothing),
    ("wait4", Allowed::Nothing),
    ("stat", Allowed::Nothing),
    ("open", Allowed::Nothing),
    ("chmod", Allowed::Hooked),
    ("rename", Allowed::Hooked),
    ("mount", Allowed::Hooked),
    ("walk", Allowed::Nothing),
    // The barrier is asked where the permission bits have said no, and only a capability helps.
    ("walk-by-right", Allowed::Percent(1)),
    ("read", Allowed::Nothing),
    ("mmap", Allowed::Nothing),
    ("pipe", Allowed::Nothing),
    ("unix", Allowed::NothingOutside),
    ("udp", Allowed::Nothing),
    ("tcp", Allowed::Nothing),
    // Sockets are made, bound and connected through hooks; their data meets none.
    ("tcp-connect", Allowed::Percent(1)),
    ("tcp-stream", Allowed::Nothing),
    ("kill", Allowed::Percent(3)),
    ("kill-child", Allowed::Percent(3)),
    ("fork", Allowed::Percent(3)),
    ("getpgid", Allowed::Anything),
    ("proc-status", Allowed::Anything),
    ("proc-list", Allowed::Anything),
    ("proc-open", Allowed::Hooked),
    ("sys-open", Allowed::Hooked),
    ("sys-net", Allowed::Hooked),
    ("pty", Allowed::Percent(3)),
    ("ptmx", Allowed::Percent(3)),
    ("tcgets", Allowed::Percent(3)),
    ("tiocsti", Allowed::Hooked),
    ("keyctl", Allowed::Hooked),
    ("request-key", Allowed::Hooked),
];

/// What the hooks of a process 1 are on the way of, on the host.
const WITH_INIT: [&str; 7] = [
    "getpid",
    "getppid",
    "getpgrp",
    "wait4",
    "kill",
    "kill-child",
    "fork",
];

/// So many instructions may a call of these cost more while a process 1 lives, or one hundredth; nothing after the last one.
const LIVING: i128 = 8;

/// The module as it was when most of it was C, at commit fb40b4e: the lane, bytes of text and of data, seconds of its build on two
/// processors that also did something else. It was not built for the other lane.
const IN_C: [(Lane, u64, u64, u64); 1] = [(Lane::Stock, 196_416, 203_316, 34)];

/// What is compared: with the module, and without it.
const COMPARED: [(Situation, Situation); 3] = [
    (Situation::Loaded, Situation::Absent),
    (Situation::Contexts, Situation::Crowd),
    (Situation::Inside, Situation::Absent),
];

/// ENTER, exec and exit may cost so many hundredths of what they cost with the namespaces that a context has
/// for itself, made by unshare.
const ENTER_EXEC: u64 = 125;

/// The same by the command.
const CHCONTEXT: u64 = 1_300_000;

/// Making the 2,000th context may cost so many hundredths of making the tenth.
const TWO_THOUSANDTH: u64 = 150;

/// What is compared between the host, a context with addresses and a bridge.
const NETWORK: [&str; 4] = ["udp", "tcp", "tcp-connect", "tcp-stream"];

/// The host's instructions are to be so many thousandths at least of those in such a context.
const CONFINED: u64 = 990;

/// What is compared between the first context with an address and the 1,000th.
const BINDING: [&str; 2] = ["bind-udp", "bind-tcp"];

/// In the 1,000th it may cost so many thousandths of what it costs in the first.
const THOUSANDTH: u64 = 1020;

const HEAD: &str = "\
# Benchmarks

Written by `make bench`; do not edit.

What a system call costs, in **instructions**: user space, kernel and, where several processes take
part, all of them, up to the return to the caller. Each number is the median of 50 to 2,000 calls.

The machine is QEMU without KVM, one processor, `-icount shift=0,sleep=off`: the time stamp counter advances by one
per instruction, which the probe (`qemu/probe`) verifies at the start of every run (1,000 instructions
must read 1,002) and without which it refuses to run. So the counts are exact and free of noise from the
machine below; what differs between two runs is the guest's own doing (allocators, timers, page caches).
All processes have pids above 4,095, which take a step more to be found than those below.
The kernel's table of UDP sockets is as large as on a machine with 128 GB (`uhash_entries=65536`): in that of a small
one, sockets of the same port are in each other's way by chance.
Caches, branch prediction and TLB misses cost nothing there: these are counts, not times. By hand:

    make exec ICOUNT=1 CMD='probe'
    make exec ICOUNT=1 CMD='probe --contexts 1000 kill fork'
    make exec ICOUNT=1 CMD='probe --addresses 10.90.0.1 --inside udp tcp-connect'

The situations:

- *absent*: the module has not been loaded since the machine started. Measured twice, and a third time after the module
  has been loaded, used and removed; *spread* is how far these three lie apart.
- *loaded*: the module is loaded, no context is alive.
- *1,000 contexts*: seen from the host (context 0), each context with an idle process that is confined to an address of
  its own (an ipv4root), where it has port 80 by TCP and UDP. What it costs more is reckoned against the same number of
  idle processes without the module.
- *inside*: in a context without addresses, the only one.

The network rows are between two processes on the loopback device: one byte there and back by UDP (the client is connected,
the server answers by sendto); by TCP through a connection that stays, and through a new one each time, which
the server closes; and 64 KiB through TCP until the other process has read them, one sixteenth of a MiB.

Targets: nothing more (within the spread), at most 3 % for kill, fork and terminals, 1 % for a connection and for a walk that
needs a capability on its way, 12 instructions or 1 % for what is hooked otherwise; *outside*: but for callers, and the
sockets, of a context. The other rows with a percentage have no
target; they show what the hooks cost where they sit. In a context mount(2) is refused, and so costs less.

Some hooks are attached only while a process 1 of a context lives, and some seconds longer; a table of its own tells what
they cost the host.

*Loopback of a context with an ipv4root* compares the same rows at 127.0.0.1:

- *host*: the module is loaded, the caller is in context 0; 10.90.0.1 is on the loopback device.
- *inside*: the same in a context that is confined to 10.90.0.1, on its private 127.0.0.1. *ratio* is the host's instructions
  per instruction inside; more than 1 is less work than on the host.
- *veth and bridge*: without the module, between two network namespaces, each with a veth pair to a bridge in a third one.
";

/// The page, and how many targets are missed.
pub fn page(lanes: &[Measured]) -> Result<(String, u32)> {
    let mut page = Page {
        text: HEAD.into(),
        missed: 0,
    };
    for measured in lanes {
        let absent = measured.report(Situation::Absent)?;
        let loaded = measured.report(Situation::Loaded)?;
        write!(
            page.text,
            "\n## Lane `{}`: Linux {}, {} hooks\n\n",
            measured.lane.name(),
            absent.kernel,
            loaded.hooks.unwrap_or(0)
        )?;
        page.module(measured)?;
        page.calls(measured)?;
        page.with_init(measured)?;
        page.starts(measured)?;
        page.network(measured)?;
        page.binding(measured)?;
    }
    Ok((page.text, page.missed))
}

struct Page {
    text: String,
    missed: u32,
}

impl Page {
    fn verdict(&mut self, met: bool) -> &'static str {
        if met {
            "yes"
        } else {
            self.missed += 1;
            "**no**"
        }
    }

    fn calls(&mut self, measured: &Measured) -> Result<()> {
        self.text += "| instructions | absent | spread | loaded | 1,000 contexts | inside | target | met |\n\
                      |---|--:|--:|--:|--:|--:|--:|---|\n";
        for (name, allowed) in CALLS {
            let row = &measured
                .report(Situation::Absent)?
                .rows
                .iter()
                .find(|row| row.name == name)
                .ok_or_else(|| anyhow::anyhow!("{name} was not measured"))?;
            let spread = spread(measured, name)?;
            write!(
                self.text,
                "| {} | {} | {} |",
                row.what,
                grouped(row.median.into()),
                grouped(spread.into())
            )?;
            let mut met = true;
            for (with, without) in COMPARED {
                let base = measured.median(without, name)?;
                let more = i128::from(measured.median(with, name)?) - i128::from(base);
                let is_free = matches!(allowed, Allowed::NothingOutside | Allowed::Hooked)
                    && with == Situation::Inside;
                met &= is_free || within(more, base, spread, allowed);
                write!(self.text, " {} |", difference(more, base))?;
            }
            let target = match allowed {
                Allowed::Nothing => "+0".to_string(),
                Allowed::NothingOutside => "+0 outside".to_string(),
                Allowed::Hooked => format!("+{HOOKED} or 1 % outside"),
                Allowed::Percent(percent) => format!("{percent} %"),
                Allowed::Anything => String::new(),
            };
            let verdict = match allowed {
                Allowed::Anything => "",
                _ => self.verdict(met),
            };
            writeln!(self.text, " {target} | {verdict} |")?;
        }
        Ok(())
    }

    fn module(&mut self, measured: &Measured) -> Result<()> {
        let module = measured.module;
        write!(
            self.text,
            "The module: {} bytes of text, {} of data, built in {} s",
            grouped(module.text.into()),
            grouped(module.data.into()),
            module.seconds
        )?;
        for (lane, text, data, seconds) in IN_C {
            if lane == measured.lane {
                write!(
                    self.text,
                    "; when most of it was C, {}, {} and {seconds} s",
                    grouped(text.into()),
                    grouped(data.into())
                )?;
            }
        }
        self.text += ".\n\n";
        Ok(())
    }

    fn with_init(&mut self, measured: &Measured) -> Result<()> {
        let [loaded, after] = [Situation::Loaded, Situation::AfterInit];
        ensure!(
            measured.report(loaded)?.hooks == measured.report(after)?.hooks,
            "the hooks for a process 1 stay attached after its end"
        );
        self.text += "\nThe host, while a process 1 of a context lives and when the last one has ended:\n\n\
                      | instructions | loaded | one lives | target | met | after it | target | met |\n\
                      |---|--:|--:|--:|---|--:|--:|---|\n";
        for name in WITH_INIT {
            let base = measured.median(loaded, name)?;
            let spread = spread(measured, name)?;
            let more = |situation| -> Result<i128> {
                Ok(i128::from(measured.median(situation, name)?) - i128::from(base))
            };
            let [living, ended] = [more(Situation::WithInit)?, more(after)?];
            let is_cheap = self.verdict(living <= LIVING || living * 100 <= base.into());
            let is_over = self.verdict(ended <= spread.into());
            writeln!(
                self.text,
                "| {} | {} | {} | +{LIVING} or 1 % | {is_cheap} | {} | +0 | {is_over} |",
                words(measured, loaded, name)?,
                grouped(base.into()),
                difference(living, base),
                difference(ended, base),
            )?;
        }
        Ok(())
    }

    fn starts(&mut self, measured: &Measured) -> Result<()> {
        self.text += "\nStarting the smallest static program:\n\n\
                      | instructions | absent | loaded | 1,000 contexts | target | met |\n\
                      |---|--:|--:|--:|--:|---|\n";
        let alone = measured.median(Situation::Absent, "exec")?;
        let forked = measured.median(Situation::Absent, "fork-exec")?;
        let unshared = measured.median(Situation::Absent, "unshare-exec")?;
        for (name, limit) in [
            ("exec", None),
            ("fork-exec", None),
            ("unshare-exec", None),
            ("enter-exec", Some(unshared * ENTER_EXEC / 100)),
            ("chcontext", Some(CHCONTEXT)),
        ] {
            let loaded = measured.median(Situation::Loaded, name)?;
            let contexts = measured.median(Situation::Contexts, name)?;
            let report = measured.report(Situation::Loaded)?;
            let what = report.rows.iter().find(|row| row.name == name);
            let absent = match name {
                "exec" => grouped(alone.into()),
                "fork-exec" => grouped(forked.into()),
                "unshare-exec" => grouped(unshared.into()),
                _ => String::new(),
            };
            let (target, verdict) = match limit {
                Some(limit) => (
                    grouped(limit.into()),
                    self.verdict(loaded.max(contexts) <= limit),
                ),
                None => Default::default(),
            };
            writeln!(
                self.text,
                "| {} | {absent} | {} | {} | {target} | {verdict} |",
                what.map_or(name, |row| &row.what),
                grouped(loaded.into()),
                grouped(contexts.into()),
            )?;
        }
        let ratio = |name, of: u64| -> Result<String> {
            let hundredths = measured.median(Situation::Loaded, name)? * 100 / of;
            Ok(format!("{}.{:02}", hundredths / 100, hundredths % 100))
        };
        let tenth = measured.median(Situation::Tenth, "enter")?;
        let last = measured.median(Situation::TwoThousandth, "enter")?;
        let met = self.verdict(last * 100 <= tenth * TWO_THOUSANDTH);
        write!(
            self.text,
            "\nWith ENTER it costs {} times what it costs with the same namespaces made by unshare (target: {}.{:02}), and {} times\n\
             what fork and exec cost alone; `chcontext` costs {} times what vfork and exec do.\n\
             ENTER alone: {} for the 10th context, {} for the 2,000th (target: at most {}.{:02} times as much; met: {met}).\n",
            ratio("enter-exec", unshared)?,
            ENTER_EXEC / 100,
            ENTER_EXEC % 100,
            ratio("enter-exec", forked)?,
            ratio("chcontext", alone)?,
            grouped(tenth.into()),
            grouped(last.into()),
            TWO_THOUSANDTH / 100,
            TWO_THOUSANDTH % 100,
        )?;
        Ok(())
    }

    fn network(&mut self, measured: &Measured) -> Result<()> {
        writeln!(
            self.text,
            "\n### Loopback of a context with an ipv4root\n\n\
             | instructions | host | inside | ratio | target | met | veth and bridge | ratio |\n\
             |---|--:|--:|--:|--:|---|--:|--:|"
        )?;
        for name in NETWORK {
            let host = measured.median(Situation::Host, name)?;
            let inside = measured.median(Situation::Confined, name)?;
            let bridged = measured.median(Situation::Bridged, name)?;
            let met = self.verdict(host * 1000 >= inside * CONFINED);
            writeln!(
                self.text,
                "| {} | {} | {} | {} | {} | {met} | {} | {} |",
                words(measured, Situation::Host, name)?,
                grouped(host.into()),
                grouped(inside.into()),
                quotient(host, inside),
                quotient(CONFINED, 1000),
                grouped(bridged.into()),
                quotient(host, bridged),
            )?;
        }
        Ok(())
    }

    fn binding(&mut self, measured: &Measured) -> Result<()> {
        writeln!(
            self.text,
            "\nA port of all addresses that a context has, where 999 contexts with other addresses have it too:\n\n\
             | instructions | absent | loaded | 1st context | 1,000th context | times the 1st | target | met |\n\
             |---|--:|--:|--:|--:|--:|--:|---|"
        )?;
        for name in BINDING {
            let absent = measured.median(Situation::Ports, name)?;
            let host = measured.median(Situation::Host, name)?;
            let first = measured.median(Situation::Confined, name)?;
            let last = measured.median(Situation::Thousandth, name)?;
            let more = i128::from(host) - i128::from(absent);
            let flat = self.verdict(last * 1000 <= first * THOUSANDTH);
            writeln!(
                self.text,
                "| {} | {} | {} | {} | {} | {} | {} | {flat} |",
                words(measured, Situation::Host, name)?,
                grouped(absent.into()),
                difference(more, absent),
                grouped(first.into()),
                grouped(last.into()),
                quotient(last, first),
                quotient(THOUSANDTH, 1000),
            )?;
        }
        Ok(())
    }
}

/// How far apart the medians of a row are that were taken without the module.
fn spread(measured: &Measured, name: &str) -> Result<u64> {
    let without = [
        measured.median(Situation::Absent, name)?,
        measured.median(Situation::AbsentAgain, name)?,
        measured.median(Situation::Unloaded, name)?,
    ];
    Ok(without.iter().max().unwrap_or(&0) - without.iter().min().unwrap_or(&0))
}

/// How a row is called.
fn words(measured: &Measured, situation: Situation, name: &str) -> Result<String> {
    let report = measured.report(situation)?;
    let found = report.rows.iter().find(|row| row.name == name);
    Ok(found.map_or(name, |row| &row.what).to_string())
}

/// `0.998`, rounded down.
fn quotient(of: u64, by: u64) -> String {
    let thousandths = of * 1000 / by.max(1);
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

fn within(more: i128, base: u64, spread: u64, allowed: Allowed) -> bool {
    match allowed {
        Allowed::Nothing | Allowed::NothingOutside => more <= spread.into(),
        Allowed::Hooked => more <= HOOKED + i128::from(spread) || more * 100 <= base.into(),
        Allowed::Percent(percent) => more * 100 <= i128::from(base) * i128::from(percent),
        Allowed::Anything => true,
    }
}

/// `+284 (29.4 %)`; nothing more is `+0`.
fn difference(more: i128, base: u64) -> String {
    let sign = if more < 0 { "" } else { "+" };
    let tenths = more.unsigned_abs() * 1000 / u128::from(base.max(1));
    if tenths == 0 {
        format!("{sign}{}", grouped(more))
    } else {
        format!(
            "{sign}{} ({}.{} %)",
            grouped(more),
            tenths / 10,
            tenths % 10
        )
    }
}
