// SPDX-License-Identifier: GPL-2.0

//! Users as the files of another root name them.
//!
//! The C library is not asked: it would load what the root's `/etc/nsswitch.conf` names, code of whoever owns
//! the root, into a process that has not given up anything yet.

pub use crate::fault::account::Fault;

use crate::fault::account::PASSWD;
use crate::root::Root;
use crate::Result;
use nix::unistd::{fchown, setgroups, setresgid, setresuid, Gid, Uid};
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

const GROUP: &str = "/etc/group";

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// His name, or the number as it was given.
    pub name: OsString,
    /// His number.
    pub uid: Uid,
    /// All his groups; the first is that of what he makes.
    pub groups: Vec<Gid>,
    /// His directory.
    pub home: OsString,
    /// His shell.
    pub shell: OsString,
}

impl Account {
    /// The user of this name, or with this number: what is all digits is a number. One whose number the
    /// root does not know has only the group of the same number.
    pub fn find(root: &Root, user: &OsStr) -> Result<Self> {
        let passwd = root.read(PASSWD)?;
        let group = root.read(GROUP)?.unwrap_or_default();
        Ok(Self::look_up(passwd.as_deref(), &group, user)?)
    }

    fn look_up(passwd: Option<&[u8]>, group: &[u8], user: &OsStr) -> Result<Self, Fault> {
        let shown = || user.to_string_lossy().into_owned();
        let mut lines = lines(passwd.unwrap_or_default());
        let is_number = !user.is_empty() && user.as_bytes().iter().all(u8::is_ascii_digit);
        let mut account = if is_number {
            let uid = number(user.as_bytes()).ok_or_else(|| Fault::Unknown(shown()))?;
            lines
                .filter_map(Self::from_line)
                .find(|account| account.uid.as_raw() == uid)
                .unwrap_or_else(|| Self::unlisted(user, uid))
        } else {
            let own =
                |line: &&[u8]| line.split(|&byte| byte == b':').next() == Some(user.as_bytes());
            let line = lines.find(own).ok_or_else(|| match passwd {
                Some(_) => Fault::Unknown(shown()),
                None => Fault::NoUsers(shown()),
            })?;
            Self::from_line(line).ok_or_else(|| Fault::Entry(shown()))?
        };
        for gid in groups_of(group, account.name.as_bytes()) {
            if !account.groups.contains(&gid) {
                account.groups.push(gid);
            }
        }
        Ok(account)
    }

    /// For fuzzing.
    #[cfg(test)]
    pub(crate) fn try_files(file: &[u8], user: &OsStr) -> Result<Self, Fault> {
        Self::look_up(Some(file), file, user)
    }

    /// One line of the users' file; `None` when it is none of a user.
    fn from_line(line: &[u8]) -> Option<Self> {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
        let [name, _, uid, gid, _, home, shell] = fields[..] else {
            return None;
        };
        // A comment; and what cannot become a variable of the environment.
        if name.is_empty() || name[0] == b'#' || line.contains(&0) {
            return None;
        }
        let or = |field: &[u8], default: &str| match field {
            b"" => default.into(),
            field => OsString::from_vec(field.to_vec()),
        };
        Some(Self {
            name: or(name, ""),
            uid: Uid::from_raw(number(uid)?),
            groups: vec![Gid::from_raw(number(gid)?)],
            home: or(home, "/"),
            shell: or(shell, "/bin/sh"),
        })
    }

    fn unlisted(user: &OsStr, number: u32) -> Self {
        Self {
            name: user.to_owned(),
            uid: Uid::from_raw(number),
            groups: vec![Gid::from_raw(number)],
            home: "/".into(),
            shell: "/bin/sh".into(),
        }
    }

    /// Makes a file his; its group stays. For a terminal, as a login does it: without that he could not open it by its name.
    pub fn own(&self, file: impl AsFd) -> Result<()> {
        fchown(file, Some(self.uid), None).map_err(|errno| {
            Fault::Become {
                user: self.name.to_string_lossy().into_owned(),
                errno,
            }
            .into()
        })
    }

    /// Become him, for good.
    pub fn assume(&self) -> Result<()> {
        let own = self.groups[0];
        setgroups(&self.groups)
            .and_then(|()| setresgid(own, own, own))
            .and_then(|()| setresuid(self.uid, self.uid, self.uid))
            .map_err(|errno| Fault::Become {
                user: self.name.to_string_lossy().into_owned(),
                errno,
            })?;
        Ok(())
    }

    /// What a login sets in the environment.
    pub fn environment(&self) -> [(&'static str, &OsStr); 4] {
        [
            ("HOME", &self.home),
            ("USER", &self.name),
            ("LOGNAME", &self.name),
            ("SHELL", &self.shell),
        ]
    }
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|&byte| byte == b'\n')
}

/// A number of a user or group: digits alone. The last one is none, as the kernel takes it for "as it is".
fn number(digits: &[u8]) -> Option<u32> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number != u32::MAX).then_some(number)
}

/// The groups in whose lines the user is named.
fn groups_of<'a>(group: &'a [u8], user: &'a [u8]) -> impl Iterator<Item = Gid> + 'a {
    lines(group).filter_map(move |line| {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
        let [_, _, gid, members] = fields[..] else {
            return None;
        };
        members
            .split(|&byte| byte == b',')
            .any(|member| member == user)
            .then(|| number(gid).map(Gid::from_raw))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\
        # comment:x:5:5::/:/bin/sh\n\
        \n\
        bob:x:1000:100:B\xf6b,,,:/home/bob:/bin/zsh\n\
        bare:x:1001:1001:::\n\
        bob:x:0:0:the second one:/:/bin/sh\n\
        minus:x:-1:0::/:\n\
        last:x:4294967295:0::/:\n\
        group:x:7:4294967295::/:\n\
        more:x:4294967296:0::/:\n\
        plus:x:+5:0::/:\n\
        space:x: 5:0::/:\n\
        hex:x:0x5:0::/:\n\
        none:x::0::/:\n\
        short:x:5:5:/:\n\
        long:x:5:5::/:/bin/sh:\n\
        nul:x:5:5::/\0:\n\
        +::::::\n\
        42:x:0:0::/:\n\
        end:x:9:9::/end:/bin/end";
    const GROUPS: &[u8] = b"root:x:0:\n\
        users:x:100:bob\n\
        adm:x:4:alice,bob\n\
        bobs:x:5:bobs,xbob,bob2\n\
        bad:x:-3:bob\n\
        all:x:4294967295:bob\n\
        short:x:bob\n\
        twice:x:4:bob\n\
        last:x:6:bare,bob";

    fn look_up(user: &str) -> Result<Account, Fault> {
        Account::look_up(Some(USERS), GROUPS, user.as_ref())
    }

    fn numbers(account: &Account) -> (u32, Vec<u32>) {
        let groups = account.groups.iter().map(|gid| gid.as_raw()).collect();
        (account.uid.as_raw(), groups)
    }

    #[test]
    fn by_name_and_by_number() {
        for user in ["bob", "1000", "01000"] {
            let bob = look_up(user).unwrap();
            assert_eq!(numbers(&bob), (1000, vec![100, 4, 6]), "{user}");
            let expected: [(&str, &OsStr); 4] = [
                ("HOME", "/home/bob".as_ref()),
                ("USER", "bob".as_ref()),
                ("LOGNAME", "bob".as_ref()),
                ("SHELL", "/bin/zsh".as_ref()),
            ];
            assert_eq!(bob.environment(), expected);
        }
        let bare = look_up("bare").unwrap();
        assert_eq!(numbers(&bare), (1001, vec![1001, 6]));
        assert_eq!((bare.home, bare.shell), ("/".into(), "/bin/sh".into()));
        assert_eq!(numbers(&look_up("root").unwrap()), (0, vec![0]));
        assert_eq!(numbers(&look_up("0").unwrap()), (0, vec![0]));
        assert_eq!(numbers(&look_up("end").unwrap()), (9, vec![9]));
    }

    #[test]
    fn a_number_is_a_number() {
        // Not the name "42" that somebody inside has given to root's number.
        for (user, number) in [("42", 42), ("5", 5), ("4294967294", u32::MAX - 1)] {
            let account = look_up(user).unwrap();
            assert_eq!(numbers(&account), (number, vec![number]));
            assert_eq!(account.name, user);
        }
        for user in ["4294967295", "4294967296", "99999999999999999999"] {
            assert_eq!(look_up(user), Err(Fault::Unknown(user.to_owned())));
        }
        let alone = Account::look_up(None, b"", "7".as_ref()).unwrap();
        assert_eq!(numbers(&alone), (7, vec![7]));
        assert_eq!(alone.home, "/");
    }

    #[test]
    fn what_is_not_a_line_of_a_user_is_refused() {
        for user in [
            "minus", "last", "group", "more", "plus", "space", "hex", "none", "short", "long",
            "nul", "+",
        ] {
            assert_eq!(look_up(user), Err(Fault::Entry(user.to_owned())));
        }
        for user in [
            "",
            "alice",
            "Bob",
            "bob ",
            "bob:x",
            "root:x:0:0",
            "-1",
            "1000 ",
        ] {
            assert!(look_up(user).is_err(), "{user}");
        }
        assert_eq!(look_up("alice"), Err(Fault::Unknown("alice".to_owned())));
        let none = Account::look_up(None, b"", "bob".as_ref());
        assert_eq!(none, Err(Fault::NoUsers("bob".to_owned())));
    }
}
