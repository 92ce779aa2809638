// SPDX-License-Identifier: GPL-2.0

//! `vtop`: the processes of every context, live.

use super::Verb;
use crate::columns;
use crate::columns::Column;
use crate::exec;
use crate::exit_codes;
use crate::output::Output;
use crate::output::Shown;
use crate::processes;
use crate::processes::Process;
use crate::processes::Reader;
use anyhow::bail;
use anyhow::Context;
use clap::Parser;
use libvserver::Device;
use libvserver::Spectator;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use rustix::termios::OptionalActions;
use rustix::termios::Termios;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

/// Show the processes of every context, live
///
/// Lines at the top sum up each vserver. Keys: P sorts by CPU, M by memory, c by context, q ends. Arguments after -- are
/// for top itself, which is then run in context 1. Only root in context 0 may.
#[derive(Debug, Parser)]
#[command(
    name = "vtop",
    max_term_width = 100,
    override_usage = "vtop [OPTIONS]\n       vtop -- ARGUMENTS OF top",
    after_help = columns::help(&TABLE)
)]
pub(crate) struct Vtop {
    /// Seconds between two looks
    #[arg(short, value_name = "SECONDS", default_value = "3", value_parser = delay)]
    delay: Duration,

    /// End after so many looks
    #[arg(short = 'n', value_name = "ITERATIONS", value_parser = clap::value_parser!(u64).range(1..))]
    iterations: Option<u64>,

    /// Print one look after the other, for files and pipes
    #[arg(short)]
    batch: bool,

    #[command(flatten)]
    output: Output<Live>,

    /// For top
    #[arg(last = true, value_name = "ARGUMENTS OF top")]
    args: Vec<OsString>,
}

const TABLE: [Column<Process>; 11] = [
    processes::PID,
    processes::CTX,
    processes::NAME,
    processes::USER,
    processes::STAT,
    processes::CPU,
    processes::RSS,
    processes::TIME,
    processes::COMMAND,
    processes::PPID,
    processes::TTY,
];

/// Those that are shown when nobody says which.
const USUAL: [&str; 9] = [
    "PID", "CTX", "NAME", "USER", "STAT", "%CPU", "RSS", "TIME", "COMMAND",
];

/// The table of this command.
#[derive(Clone, Debug)]
struct Live;

impl Shown for Live {
    const JSON: &'static str = "Print one line of JSON for each look; times are in seconds";
    const NO_LEGEND: &'static str = "Print no lines at the top and no heading";

    fn column_name(name: &str) -> Result<String, String> {
        columns::check(&TABLE, name)
    }
}

fn delay(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("\"{text}\" is no number of seconds"))?;
    match (0.1..=3600.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("it can be 0.1 to 3600 seconds".to_owned()),
    }
}

/// By what processes are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Cpu,
    Memory,
    Context,
}

fn sort(processes: &mut [Process], order: Order) {
    processes.sort_by(|one, other| {
        let busier = other.percent.total_cmp(&one.percent);
        match order {
            Order::Cpu => busier,
            Order::Memory => other.resident_kib.cmp(&one.resident_kib),
            Order::Context => one.context.cmp(&other.context).then(busier),
        }
    });
}

/// What has been used by each process up to the last look. A pid that another process has now is told by its start.
#[derive(Default)]
struct Before {
    ticks: BTreeMap<(i32, u64), u64>,
    at: Option<Instant>,
}

impl Before {
    /// Says what share of a processor each has used since.
    fn compare(&mut self, processes: &mut [Process], now: Instant, ticks_per_second: u64) {
        let passed = self.at.map(|at| now.duration_since(at).as_secs_f64());
        let mut ticks = BTreeMap::new();
        for process in processes {
            let usage = process.usage;
            let used = usage.user_ticks + usage.system_ticks;
            let key = (process.pid, usage.start_ticks);
            if let Some(passed) = passed.filter(|&passed| passed > 0.0) {
                let since = used.saturating_sub(self.ticks.get(&key).copied().unwrap_or(0));
                process.percent = since as f64 / ticks_per_second as f64 / passed * 100.0;
            }
            ticks.insert(key, used);
        }
        *self = Self {
            ticks,
            at: Some(now),
        };
    }
}

/// A line for each context.
fn summary(processes: &[Process]) -> Vec<String> {
    let mut all: BTreeMap<i32, (&str, u64, f64, u64)> = BTreeMap::new();
    for process in processes {
        let one = all
            .entry(process.context)
            .or_insert((&process.vserver, 0, 0.0, 0));
        one.1 += 1;
        one.2 += process.percent;
        one.3 += process.resident_kib;
    }
    all.iter()
        .map(|(context, (name, count, percent, kib))| {
            format!("{context:>5} {name:<16} {count:>5} processes {percent:>6.1} %CPU {kib:>9} kB")
        })
        .collect()
}

/// The terminal as it was, when dropped.
struct Raw(Termios);

impl Raw {
    fn new() -> anyhow::Result<Self> {
        let before = rustix::termios::tcgetattr(io::stdin()).context("cannot ask the terminal")?;
        let mut raw = before.clone();
        raw.make_raw();
        // Ctrl-C and Ctrl-Z stay keys here: the screen is put in order by us.
        rustix::termios::tcsetattr(io::stdin(), OptionalActions::Flush, &raw)
            .context("cannot set the terminal")?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        let _ = io::stdout().write_all(b"\x1b[?25h\x1b[?1049l");
        let _ = io::stdout().flush();
    }
}

impl Verb for Vtop {
    fn run(&self) -> anyhow::Result<u8> {
        if !self.args.is_empty() {
            return self.top();
        }
        let mut reader = Reader::new();
        let spectator = Spectator::enter(Device::open()?)?;
        if self.batch || self.output.json {
            return self.print(&mut reader, &spectator);
        }
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            bail!("this is no terminal; use \"vtop -b\", with -n 1 for a single look");
        }
        self.live(&mut reader, &spectator)
    }
}

impl Vtop {
    /// The real one, in context 1.
    fn top(&self) -> anyhow::Result<u8> {
        let _spectator = Spectator::enter(Device::open()?)?;
        let status = Command::new("top")
            .args(&self.args)
            .status()
            .map_err(|error| exec::failed("top".as_ref(), error))?;
        let signal = || 128 + status.signal().unwrap_or(0);
        Ok(u8::try_from(status.code().unwrap_or_else(signal)).unwrap_or(u8::MAX))
    }

    fn columns(&self) -> anyhow::Result<Vec<&'static Column<Process>>> {
        static COLUMNS: [Column<Process>; 11] = TABLE;
        columns::choose(&COLUMNS, &USUAL, self.output.columns.as_deref())
            .map_err(anyhow::Error::msg)
    }

    fn look(
        &self,
        reader: &mut Reader,
        spectator: &Spectator,
        before: &mut Before,
    ) -> anyhow::Result<Vec<Process>> {
        reader.look_again();
        let mut processes = reader.all(spectator)?;
        before.compare(&mut processes, Instant::now(), reader.ticks_per_second());
        Ok(processes)
    }

    fn print(&self, reader: &mut Reader, spectator: &Spectator) -> anyhow::Result<u8> {
        let columns = self.columns()?;
        let mut before = Before::default();
        let mut out = io::stdout().lock();
        for number in 1.. {
            let mut rows = self.look(reader, spectator, &mut before)?;
            sort(&mut rows, Order::Cpu);
            if self.output.json {
                writeln!(out, "{}", columns::to_json("processes", &columns, &rows))?;
            } else {
                if !self.output.no_legend {
                    for line in summary(&rows) {
                        writeln!(out, "{line}")?;
                    }
                    writeln!(out)?;
                }
                columns::write_fitted(&mut out, &columns, &rows, !self.output.no_legend)?;
                writeln!(out)?;
            }
            out.flush()?;
            if self.iterations == Some(number) {
                break;
            }
            std::thread::sleep(self.delay);
        }
        Ok(exit_codes::SUCCESS)
    }

    fn live(&self, reader: &mut Reader, spectator: &Spectator) -> anyhow::Result<u8> {
        let columns = self.columns()?;
        let mut before = Before::default();
        let mut order = Order::Cpu;
        let raw = Raw::new()?;
        let mut out = io::stdout().lock();
        out.write_all(b"\x1b[?1049h\x1b[?25l")?;
        let mut number = 0;
        'looks: loop {
            let mut rows = self.look(reader, spectator, &mut before)?;
            number += 1;
            let until = Instant::now() + self.delay;
            let mut size = None;
            loop {
                let now = rustix::termios::tcgetwinsize(io::stdout()).ok();
                let now = now.map_or((24, 80), |size| (size.ws_row.into(), size.ws_col.into()));
                if size != Some(now) {
                    size = Some(now);
                    sort(&mut rows, order);
                    out.write_all(&self.screen(&columns, &rows, now)?)?;
                    out.flush()?;
                }
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                // A new size is seen at the latest after this time.
                let wait = left.min(Duration::from_millis(250));
                match key(wait)? {
                    None => {}
                    Some(b'q' | b'Q' | 3 | 4) => break 'looks,
                    Some(key) => {
                        let wanted = match key {
                            b'P' => Order::Cpu,
                            b'M' => Order::Memory,
                            b'c' => Order::Context,
                            b' ' => break,
                            _ => order,
                        };
                        if wanted != order {
                            order = wanted;
                            size = None;
                        }
                    }
                }
            }
            if self.iterations == Some(number) {
                break;
            }
        }
        drop(out);
        drop(raw);
        Ok(exit_codes::SUCCESS)
    }

    /// All that fits on the screen.
    fn screen(
        &self,
        columns: &[&Column<Process>],
        rows: &[Process],
        (height, width): (usize, usize),
    ) -> anyhow::Result<Vec<u8>> {
        let mut lines = Vec::new();
        if !self.output.no_legend {
            // At most a third is for the vservers.
            lines = summary(rows);
            lines.truncate(height / 3);
            lines.push(String::new());
        }
        let mut table = Vec::new();
        columns::write_fitted(&mut table, columns, rows, !self.output.no_legend)?;
        let table = String::from_utf8_lossy(&table);
        lines.extend(table.lines().map(str::to_owned));
        lines.truncate(height);
        let lines: Vec<String> = lines
            .iter()
            .map(|line| line.chars().take(width).collect::<String>() + "\x1b[K")
            .collect();
        Ok(format!("\x1b[H{}\x1b[J", lines.join("\r\n")).into_bytes())
    }
}

/// A key that is pressed in this time. A terminal that is gone is as good as `q`.
fn key(wait: Duration) -> anyhow::Result<Option<u8>> {
    let stdin = io::stdin();
    let mut polled = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
    match poll(&mut polled, timeout) {
        Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(None),
        polled => polled?,
    };
    let mut byte = [0];
    // Not by the library's buffer: keys that wait in there would not be seen by poll.
    match nix::unistd::read(&stdin, &mut byte)? {
        0 => Ok(Some(b'q')),
        _ => Ok(Some(byte[0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, context: i32, ticks: u64, kib: u64) -> Process {
        let mut process = Process {
            pid,
            context,
            resident_kib: kib,
            ..Process::default()
        };
        process.usage.user_ticks = ticks;
        process
    }

    #[test]
    fn shares_are_of_the_time_between_two_looks() {
        let start = Instant::now();
        let mut before = Before::default();
        let mut first = [process(1, 0, 1000, 1), process(2, 100, 0, 1)];
        before.compare(&mut first, start, 100);
        assert_eq!(first[0].percent, 0.0);
        let mut second = [process(1, 0, 1050, 1), process(2, 100, 400, 1)];
        before.compare(&mut second, start + Duration::from_secs(2), 100);
        assert_eq!(second[0].percent, 25.0);
        assert_eq!(second[1].percent, 200.0);
        // Another process with the same pid.
        let mut third = [process(1, 0, 100, 1)];
        third[0].usage.start_ticks = 9;
        before.compare(&mut third, start + Duration::from_secs(3), 100);
        assert_eq!(third[0].percent, 100.0);
    }

    #[test]
    fn three_orders_and_a_line_for_each_context() {
        let mut all = [
            process(1, 100, 0, 5),
            process(2, 0, 0, 50),
            process(3, 100, 0, 1),
        ];
        all[2].percent = 9.0;
        let pids = |all: &[Process]| all.iter().map(|one| one.pid).collect::<Vec<_>>();
        sort(&mut all, Order::Memory);
        assert_eq!(pids(&all), [2, 1, 3]);
        sort(&mut all, Order::Cpu);
        assert_eq!(pids(&all), [3, 2, 1]);
        sort(&mut all, Order::Context);
        assert_eq!(pids(&all), [2, 3, 1]);
        let lines = summary(&all);
        assert_eq!(lines.len(), 2);
        assert!(
            lines[1].contains("2 processes    9.0 %CPU         6 kB"),
            "{lines:?}"
        );
    }

    #[test]
    fn the_screen_is_never_larger_than_the_terminal() {
        let vtop = Vtop::try_parse_from(["vtop"]).unwrap();
        let rows: Vec<Process> = (1..100).map(|pid| process(pid, pid, 0, 1)).collect();
        let screen = vtop
            .screen(&vtop.columns().unwrap(), &rows, (10, 20))
            .unwrap();
        let screen = String::from_utf8(screen).unwrap();
        assert_eq!(screen.lines().count(), 10);
        assert!(screen
            .lines()
            .all(|line| line.replace("\x1b[K", "").chars().count() <= 26));
    }

    #[test]
    fn what_is_for_top_stands_behind_dashes() {
        let vtop = Vtop::try_parse_from(["vtop", "--", "-b", "-n1"]).unwrap();
        assert_eq!(vtop.args, ["-b", "-n1"]);
        for line in [
            "vtop -d 0",
            "vtop -d x",
            "vtop -n 0",
            "vtop -o nope",
            "vtop -H",
        ] {
            assert!(Vtop::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
