// SPDX-License-Identifier: GPL-2.0

//! The processes of all contexts, as `vps`, `vpstree` and `vtop` show them.

use crate::columns::Align;
use crate::columns::Column;
use libvserver::process;
use libvserver::process::Details;
use libvserver::process::Usage;
use libvserver::uapi::CONTEXT_ROOT;
use libvserver::uapi::CONTEXT_SPECTATOR;
use libvserver::Names;
use libvserver::Spectator;
use std::collections::BTreeMap;

/// What the root server is called.
pub(crate) const ROOT_NAME: &str = "MAIN";

/// One process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) context: i32,
    /// Of its vserver.
    pub(crate) vserver: String,
    pub(crate) user: String,
    pub(crate) details: Details,
    pub(crate) usage: Usage,
    /// CPU time in seconds.
    pub(crate) seconds: u64,
    /// Resident memory.
    pub(crate) resident_kib: u64,
    /// Of one processor, since the last look.
    pub(crate) percent: f64,
}

/// What turns numbers into names and units.
pub(crate) struct Reader {
    names: Names,
    users: BTreeMap<u32, String>,
    ticks_per_second: u64,
    page_kib: u64,
}

impl Reader {
    /// Reads what the host's files tell, so before anybody becomes the spectator.
    pub(crate) fn new() -> Self {
        let ask = |variable, usual| {
            let told = nix::unistd::sysconf(variable).ok().flatten();
            let told = told.and_then(|value| u64::try_from(value).ok());
            told.filter(|&value| value > 0).unwrap_or(usual)
        };
        Self {
            names: Names::load(),
            users: users(&std::fs::read("/etc/passwd").unwrap_or_default()),
            ticks_per_second: ask(nix::unistd::SysconfVar::CLK_TCK, 100),
            page_kib: ask(nix::unistd::SysconfVar::PAGE_SIZE, 4096) / 1024,
        }
    }

    pub(crate) fn ticks_per_second(&self) -> u64 {
        self.ticks_per_second
    }

    /// The vservers that run may have changed.
    pub(crate) fn look_again(&mut self) {
        self.names = Names::load();
    }

    pub(crate) fn name_of(&self, context: i32) -> &str {
        match context {
            CONTEXT_ROOT => ROOT_NAME,
            context => self.names.get(context).unwrap_or(""),
        }
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// All processes but the caller, by pid. One that ends meanwhile is left out.
    pub(crate) fn all(&self, spectator: &Spectator) -> libvserver::Result<Vec<Process>> {
        let with_details = |process: libvserver::spectator::Process| {
            let details = process::details(process.pid)?;
            Some(self.process(process.pid, process.context, process.usage, details))
        };
        Ok(spectator
            .processes()?
            .into_iter()
            .filter_map(with_details)
            .collect())
    }

    fn process(&self, pid: i32, context: i32, usage: Usage, details: Details) -> Process {
        // Only the host's users have their names here: a vserver has its own.
        let known = match context {
            CONTEXT_ROOT | CONTEXT_SPECTATOR => self.users.get(&details.uid).cloned(),
            _ => (details.uid == 0).then(|| "root".to_owned()),
        };
        Process {
            pid,
            context,
            vserver: self.name_of(context).to_owned(),
            user: known.unwrap_or_else(|| details.uid.to_string()),
            seconds: (usage.user_ticks + usage.system_ticks) / self.ticks_per_second,
            resident_kib: usage.resident_pages * self.page_kib,
            percent: 0.0,
            details,
            usage,
        }
    }
}

/// The names of the users in a file like /etc/passwd. The first of those with the same number counts.
fn users(passwd: &[u8]) -> BTreeMap<u32, String> {
    let mut users = BTreeMap::new();
    for line in String::from_utf8_lossy(passwd).lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, number, ..] = fields[..] {
            if let Ok(number) = number.parse() {
                users.entry(number).or_insert_with(|| name.to_owned());
            }
        }
    }
    users
}

/// A terminal by its number, as ps writes it.
fn terminal(number: u32) -> String {
    let major = (number >> 8) & 0xfff;
    let minor = (number & 0xff) | ((number >> 12) & 0xfff00);
    match (major, minor) {
        (0, 0) => "?".to_owned(),
        (136..=143, minor) => format!("pts/{}", (major - 136) * 256 + minor),
        (4, 0..=63) => format!("tty{minor}"),
        (4, minor) => format!("ttyS{}", minor - 64),
        (5, 1) => "console".to_owned(),
        (204, 64..) => format!("ttyAMA{}", minor - 64),
        (229, minor) => format!("hvc{minor}"),
        (major, minor) => format!("{major}:{minor}"),
    }
}

/// CPU time as ps writes it: `[DD-]HH:MM:SS`.
fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        days => format!("{days}-{clock}"),
    }
}

pub(crate) const PID: Column<Process> = Column {
    name: "PID",
    width: 7,
    align: Align::Right,
    help: "process, by its number on the host",
    text: |row| row.pid.to_string(),
    json: |row| row.pid.into(),
};

pub(crate) const CTX: Column<Process> = Column {
    name: "CTX",
    width: 5,
    align: Align::Right,
    help: "number of its context",
    text: |row| row.context.to_string(),
    json: |row| row.context.into(),
};

pub(crate) const NAME: Column<Process> = Column {
    name: "NAME",
    width: 8,
    align: Align::Left,
    help: "name of its vserver; MAIN: the host",
    text: |row| row.vserver.clone(),
    json: |row| row.vserver.clone().into(),
};

pub(crate) const PPID: Column<Process> = Column {
    name: "PPID",
    width: 7,
    align: Align::Right,
    help: "its parent",
    text: |row| row.details.parent.to_string(),
    json: |row| row.details.parent.into(),
};

pub(crate) const USER: Column<Process> = Column {
    name: "USER",
    width: 8,
    align: Align::Left,
    help: "its user; the number of those that a vserver has of its own",
    text: |row| row.user.clone(),
    json: |row| row.user.clone().into(),
};

pub(crate) const TTY: Column<Process> = Column {
    name: "TTY",
    width: 7,
    align: Align::Left,
    help: "its terminal, ? when it has none",
    text: |row| terminal(row.details.terminal),
    json: |row| match row.details.terminal {
        0 => serde_json::Value::Null,
        number => terminal(number).into(),
    },
};

pub(crate) const STAT: Column<Process> = Column {
    name: "STAT",
    width: 4,
    align: Align::Left,
    help: "its state, as ps writes it",
    text: |row| row.details.state.clone(),
    json: |row| row.details.state.clone().into(),
};

pub(crate) const TIME: Column<Process> = Column {
    name: "TIME",
    width: 8,
    align: Align::Right,
    help: "CPU time that it has used; JSON: seconds",
    text: |row| time(row.seconds),
    json: |row| row.seconds.into(),
};

pub(crate) const RSS: Column<Process> = Column {
    name: "RSS",
    width: 7,
    align: Align::Right,
    help: "resident memory, kB",
    text: |row| row.resident_kib.to_string(),
    json: |row| row.resident_kib.into(),
};

pub(crate) const CPU: Column<Process> = Column {
    name: "%CPU",
    width: 5,
    align: Align::Right,
    help: "share of one processor since the last look",
    text: |row| format!("{:.1}", row.percent),
    json: |row| row.percent.into(),
};

pub(crate) const COMMAND: Column<Process> = Column {
    name: "COMMAND",
    width: 7,
    align: Align::Left,
    help: "its arguments, or its name in brackets",
    text: |row| row.details.command.clone(),
    json: |row| row.details.command.clone().into(),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_and_times() {
        assert_eq!(terminal(0), "?");
        assert_eq!(terminal(0x8803), "pts/3");
        assert_eq!(terminal(0x401), "tty1");
        assert_eq!(terminal(0x440), "ttyS0");
        assert_eq!(terminal(0x501), "console");
        assert_eq!(terminal(0xcc40), "ttyAMA0");
        assert_eq!(terminal(u32::MAX), "4095:1048575");
        assert_eq!(time(59), "00:00:59");
        assert_eq!(time(90_061), "1-01:01:01");
    }

    #[test]
    fn users_of_a_vserver_are_not_the_hosts() {
        let reader = Reader {
            names: Names::default(),
            users: users(b"root:x:0:0::/:\nbob:x:7:\n\xff\nrob:x:7:\nx:y\n"),
            ticks_per_second: 100,
            page_kib: 4,
        };
        let user = |context, uid| {
            let details = Details {
                uid,
                ..Details::default()
            };
            reader.process(5, context, Usage::default(), details).user
        };
        assert_eq!(user(0, 7), "bob");
        assert_eq!(user(100, 7), "7");
        assert_eq!(user(100, 0), "root");
        assert_eq!(user(0, 8), "8");
    }
}
