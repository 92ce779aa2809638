// SPDX-License-Identifier: GPL-2.0

//! Every variable of a configuration: what it may be, and what holds without it. The manual page, `show` and the
//! reader all come from this table.

/// One variable.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it may be, in short.
    pub value: &'static str,
    /// What holds without it, as it would be written; empty when that is nothing.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Whether it makes sense for all vservers, and so may stand in `/etc/vservers.conf`.
    pub shared: bool,
}

/// All of them, in the order in which they are shown.
pub const VARIABLES: [Variable; 20] = [
    Variable {
        name: "IPROOT",
        value: "[DEVICE:]IP[/MASK] ...",
        default: "",
        help: "The addresses that its processes are confined to, IPv4 and IPv6. Those with a device are added to it at \
               the start when it does not have them, and taken off at the stop. A whole network, such as 10.0.0.0/24, \
               can be given too. Empty or 0.0.0.0: not confined.",
        shared: false,
    },
    Variable {
        name: "IPROOTMASK",
        value: "MASK",
        default: "",
        help: "The mask of the IPv4 addresses of IPROOT that have none: 255.255.255.0 or 24. Without it /32.",
        shared: true,
    },
    Variable {
        name: "IPROOTBCAST",
        value: "IP",
        default: "",
        help: "The IPv4 broadcast address that can be bound. Without it, that of the first address with a mask.",
        shared: true,
    },
    Variable {
        name: "IPROOTDEV",
        value: "DEVICE",
        default: "",
        help: "The device for the addresses of IPROOT that have none.",
        shared: true,
    },
    Variable {
        name: "S_HOSTNAME",
        value: "NAME",
        default: "",
        help: "Its host name, at most 64 bytes without blanks. Without it, that of the host.",
        shared: false,
    },
    Variable {
        name: "S_DOMAINNAME",
        value: "NAME|none",
        default: "",
        help: "Its NIS domain name; none: no domain at all. Without it, that of the host.",
        shared: true,
    },
    Variable {
        name: "ONBOOT",
        value: "yes|no",
        default: "no",
        help: "Whether \"vservers start\" starts it.",
        shared: true,
    },
    Variable {
        name: "PRIORITY",
        value: "0 to 999",
        default: "100",
        help: "The order in which \"vservers\" starts, lowest first, and stops, highest first. Those that are equal \
               are started side by side.",
        shared: true,
    },
    Variable {
        name: "S_NICE",
        value: "-20 to 19",
        default: "",
        help: "The nice value of its processes. Without it, 0.",
        shared: true,
    },
    Variable {
        name: "S_FLAGS",
        value: "FLAG ...",
        default: "",
        help: "Flags of its context: lock sched nproc private fakeinit hideinfo ulimit. With fakeinit the program INIT \
               is started, as process 1 inside; without it the script of a run level.",
        shared: true,
    },
    Variable {
        name: "ULIMIT",
        value: "[-H] [-S] -LETTER NUMBER ...",
        default: "",
        help: "Resource limits, as for a shell's ulimit: -H -u 1000. Without it, those that the kernel begins with.",
        shared: true,
    },
    Variable {
        name: "S_CAPS",
        value: "[!]CAP_X ...",
        default: "",
        help: "CAP_X keeps one of the capabilities that vservers give up (those of \"chcontext --secure\"), !CAP_X gives \
               up another.",
        shared: true,
    },
    Variable {
        name: "S_CONTEXT",
        value: "2 to 49151",
        default: "",
        help: "The number of its context. Without it one is handed out.",
        shared: false,
    },
    Variable {
        name: "PROFILE",
        value: "WORD",
        default: "",
        help: "A word for its script NAME.sh, which gets it in the environment.",
        shared: true,
    },
    Variable {
        name: "RUNLEVEL",
        value: "WORD",
        default: "",
        help: "The run level of the start without an init of its own. Without it, what the guest's files say.",
        shared: true,
    },
    Variable {
        name: "INIT",
        value: "PATH",
        default: "/sbin/init",
        help: "Its init, as it is called inside.",
        shared: true,
    },
    Variable {
        name: "READY",
        value: "TEXT",
        default: "",
        help: "A text that its console shows when the boot is done, a part of one line. Without it, what its init \
               leaves behind tells.",
        shared: true,
    },
    Variable {
        name: "START_TIMEOUT",
        value: "1 to 86400",
        default: "120",
        help: "Seconds that a boot may take.",
        shared: true,
    },
    Variable {
        name: "STOP_TIMEOUT",
        value: "1 to 86400",
        default: "60",
        help: "Seconds that it may take to stop.",
        shared: true,
    },
    Variable {
        name: "CONSOLE_LOG_SIZE",
        value: "4096 to 1073741824",
        default: "1048576",
        help: "Bytes after which the log of its console is put aside; one older is kept.",
        shared: true,
    },
];

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// The name that looks most like this one, if one does.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    VARIABLES
        .iter()
        .map(|variable| (distance(variable.name, &upper), variable.name))
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, name)| name)
}

/// How many letters have to be changed, added or taken away.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, char) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for column in 0..other.len() {
            let change = diagonal + usize::from(char != other[column]);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likely_name_is_found() {
        for (name, expected) in [
            ("S_HOSTNAM", Some("S_HOSTNAME")),
            ("HOSTNAME", Some("S_HOSTNAME")),
            ("s_flags", Some("S_FLAGS")),
            ("IP_ROOT", Some("IPROOT")),
            ("ON_BOOT", Some("ONBOOT")),
            ("IPROTO", Some("IPROOT")),
            ("SOMETHING", None),
            ("", None),
        ] {
            assert_eq!(nearest(name), expected, "{name}");
        }
    }
}
