// SPDX-License-Identifier: GPL-2.0

//! `/etc/inittab`, of sysvinit and of busybox: `id:levels:action:process`.

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) levels: String,
    pub(super) action: String,
    pub(super) process: String,
}

impl Entry {
    /// Whether it belongs to a run level; one without levels belongs to all.
    pub(super) fn is_of(&self, level: char) -> bool {
        self.levels.is_empty() || self.levels.contains(level)
    }
}

/// The lines that are of the right form; an init passes over others, too.
pub(super) fn parse(text: &str) -> Vec<Entry> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.splitn(4, ':');
            Some(Entry {
                id: fields.next()?.to_owned(),
                levels: fields.next()?.to_owned(),
                action: fields.next()?.to_owned(),
                process: fields.next()?.trim().to_owned(),
            })
        })
        .collect()
}

/// The run level that is entered when nobody says another.
pub(super) fn default_level(entries: &[Entry]) -> Option<char> {
    entries
        .iter()
        .find(|entry| entry.action == "initdefault")?
        .levels
        .chars()
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "# comment\nid:2:initdefault:\n\nsi::sysinit:/etc/init.d/rcS\n\
        ~~:S:wait:/sbin/sulogin --force\nl2:2:wait:/etc/init.d/rc 2\nl3:3:wait:/etc/init.d/rc 3\n\
        ca:12345:ctrlaltdel:/sbin/shutdown -t1 -a -r now\n\
        1:2345:respawn:/sbin/getty --noclear 38400 tty1\nrubbish\n";

    #[test]
    fn lines_of_debian() {
        let entries = parse(DEBIAN);
        assert_eq!(entries.len(), 7);
        assert_eq!(default_level(&entries), Some('2'));
        let waits: Vec<_> = entries
            .iter()
            .filter(|entry| entry.action == "wait" && entry.is_of('2'))
            .map(|entry| entry.id.as_str())
            .collect();
        assert_eq!(waits, ["l2"]);
    }

    #[test]
    fn lines_of_busybox() {
        let entries =
            parse("::sysinit:/etc/init.d/rcS\n::respawn:-/bin/sh\nttyS0::askfirst:-/bin/sh\n");
        assert!(entries[1].is_of('3'));
        assert_eq!(default_level(&entries), None);
    }
}
