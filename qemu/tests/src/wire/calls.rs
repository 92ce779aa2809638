// SPDX-License-Identifier: GPL-2.0

//! Socket calls at random: families, types, addresses, lengths, options and flags, most of them nearly
//! right.

use crate::{fixture::Outcome, random::Random, syscalls::syscall};

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// One of a list, most of the time.
    fn mostly(&mut self, list: &[i64]) -> usize {
        if self.below(20) == 0 {
            self.next() as usize
        } else {
            self.of(list) as usize
        }
    }
}

const ADDRESSES: [[u8; 4]; 12] = [
    [10, 78, 0, 1],
    [10, 78, 0, 5],
    [10, 78, 0, 6],
    [10, 78, 0, 100],
    [10, 78, 0, 255],
    [127, 0, 0, 1],
    [127, 1, 0, 1],
    [127, 0, 1, 1],
    [0, 0, 0, 0],
    [224, 0, 0, 251],
    [255, 255, 255, 255],
    [10, 77, 0, 5],
];

const PORTS: [u16; 6] = [0, 7001, 7003, 80, 53, 65535];

/// An address of some family, with its length.
fn address(random: &mut Random, room: &mut [u8; 128]) -> usize {
    room.fill(0);
    let port = random.of(&PORTS).to_be_bytes();
    let v4 = random.of(&ADDRESSES);
    let length = match random.below(8) {
        0..=3 => {
            room[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            room[2..4].copy_from_slice(&port);
            room[4..8].copy_from_slice(&v4);
            16
        }
        4 | 5 => {
            room[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            room[2..4].copy_from_slice(&port);
            match random.below(6) {
                0 => {
                    room[18..20].fill(0xff);
                    room[20..24].copy_from_slice(&v4);
                }
                1 => room[23] = 1,
                2 => (),
                3 => {
                    room[8..10].copy_from_slice(&[0xfd, 0x78]);
                    room[23] = random.of(&[1, 5, 0]);
                }
                4 => room[8..10].copy_from_slice(&[0xff, 2]),
                _ => {
                    room[8..10].copy_from_slice(&[0xfe, 0x80]);
                    room[24] = random.below(4) as u8;
                }
            }
            28
        }
        6 => {
            room[0] = libc::AF_UNIX as u8;
            room[3] = b'a' + random.below(4) as u8;
            4 + random.below(107) as usize
        }
        _ => {
            room[..2].copy_from_slice(&(random.below(20) as u16).to_ne_bytes());
            16
        }
    };
    if random.below(16) == 0 {
        random.below(129) as usize
    } else {
        length
    }
}

const FAMILIES: [i64; 8] = [2, 2, 2, 10, 10, 10, 1, 16];
const TYPES: [i64; 5] = [1, 2, 3, 5, 2];
const PROTOCOLS: [i64; 10] = [0, 0, 0, 6, 17, 1, 58, 255, 132, 262];
const LEVELS: [i64; 6] = [1, 0, 41, 6, 17, 0];
const FLAGS: [i64; 7] = [0, 0, 0x40, 0x2000_0000, 0x8000, 0x20, 0x1];
const COMMANDS: [i64; 8] = [
    0x8910, 0x8912, 0x8913, 0x8915, 0x891b, 0x8927, 0x8933, 0x8946,
];

/// A control message or two: packet information of both families with any source.
fn control(random: &mut Random, room: &mut [u8; 128]) -> usize {
    room.fill(0);
    let v4 = random.of(&ADDRESSES);
    match random.below(6) {
        0 => {
            room[..8].copy_from_slice(&28u64.to_ne_bytes());
            room[12..16].copy_from_slice(&8i32.to_ne_bytes());
            room[20..24].copy_from_slice(&v4);
            32
        }
        1 => {
            room[..8].copy_from_slice(&36u64.to_ne_bytes());
            room[8..12].copy_from_slice(&41i32.to_ne_bytes());
            room[12..16].copy_from_slice(&50i32.to_ne_bytes());
            room[26..28].fill(0xff);
            room[28..32].copy_from_slice(&v4);
            40
        }
        2 => {
            for byte in room.iter_mut() {
                *byte = random.next() as u8;
            }
            random.below(129) as usize
        }
        3 => {
            room[..8].copy_from_slice(&random.below(64).to_ne_bytes());
            room[8..12].copy_from_slice(&(random.of(&[0i32, 1, 41])).to_ne_bytes());
            room[12..16].copy_from_slice(&(random.below(80) as i32).to_ne_bytes());
            random.below(129) as usize
        }
        _ => 0,
    }
}

/// Without the wait for data to be sent that may have been asked for.
fn close(fd: usize) {
    let never = [0i32; 2];
    let option = [
        fd,
        libc::SOL_SOCKET as usize,
        libc::SO_LINGER as usize,
        never.as_ptr() as usize,
        8,
        0,
    ];
    let _ = syscall(libc::SYS_setsockopt, option);
    let _ = syscall(libc::SYS_close, [fd, 0, 0, 0, 0, 0]);
}

/// Has the kernel load what modules it has for sockets like these.
pub fn load_protocols() {
    for family in FAMILIES {
        for kind in TYPES {
            for protocol in PROTOCOLS {
                let arguments = [family, kind, protocol, 0, 0, 0].map(|word| word as usize);
                if let Ok(fd) = syscall(libc::SYS_socket, arguments) {
                    close(fd as usize);
                }
            }
        }
    }
}

/// So many calls. What they answer does not matter.
pub fn run(calls: u64) -> Outcome {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut fds: Vec<usize> = Vec::new();
    let mut name = [0u8; 128];
    let mut data = [0u8; 2048];
    let mut extra = [0u8; 128];
    for _ in 0..calls {
        if fds.len() < 24 || random.below(12) == 0 {
            let arguments = [
                random.of(&FAMILIES) as usize,
                // SOCK_NONBLOCK
                random.of(&TYPES) as usize | 0x800,
                random.of(&PROTOCOLS) as usize,
                0,
                0,
                0,
            ];
            if let Ok(fd) = syscall(libc::SYS_socket, arguments) {
                fds.push(fd as usize);
            }
            if fds.len() > 48 {
                let at = random.below(fds.len() as u64) as usize;
                close(fds.swap_remove(at));
            }
            continue;
        }
        let fd = random.of(&fds);
        let at = name.as_mut_ptr() as usize;
        let bytes = data.as_mut_ptr() as usize;
        match random.below(14) {
            0 | 1 => {
                let length = address(&mut random, &mut name);
                let _ = syscall(libc::SYS_bind, [fd, at, length, 0, 0, 0]);
            }
            2 | 3 => {
                let length = address(&mut random, &mut name);
                let _ = syscall(libc::SYS_connect, [fd, at, length, 0, 0, 0]);
            }
            4 | 5 => {
                let length = address(&mut random, &mut name);
                let size = random.below(2049) as usize;
                // MSG_DONTWAIT, MSG_NOSIGNAL
                let flags = random.mostly(&FLAGS) | 0x4040;
                let _ = syscall(libc::SYS_sendto, [fd, bytes, size, flags, at, length]);
            }
            6 => {
                let length = address(&mut random, &mut name);
                let more = control(&mut random, &mut extra);
                let vector = [bytes, random.below(2049) as usize];
                let message = [
                    at,
                    length,
                    vector.as_ptr() as usize,
                    1,
                    extra.as_ptr() as usize,
                    more,
                    0,
                ];
                let flags = random.mostly(&FLAGS) | 0x4040;
                let message = message.as_ptr() as usize;
                let _ = syscall(libc::SYS_sendmsg, [fd, message, flags, 0, 0, 0]);
            }
            7 => {
                let vector = [bytes, data.len()];
                let mut message = [
                    at,
                    name.len(),
                    vector.as_ptr() as usize,
                    1,
                    extra.as_mut_ptr() as usize,
                    extra.len(),
                    0,
                ];
                let message = message.as_mut_ptr() as usize;
                let flags = random.mostly(&FLAGS) | 0x40;
                let _ = syscall(libc::SYS_recvmsg, [fd, message, flags, 0, 0, 0]);
            }
            8 => {
                let _ = syscall(libc::SYS_listen, [fd, random.below(8) as usize, 0, 0, 0, 0]);
            }
            9 => {
                // SOCK_NONBLOCK
                if let Ok(new) = syscall(libc::SYS_accept4, [fd, 0, 0, 0x800, 0, 0]) {
                    fds.push(new as usize);
                }
            }
            10 | 11 => {
                for byte in &mut extra {
                    *byte = if random.below(2) == 0 {
                        0
                    } else {
                        random.next() as u8
                    };
                }
                if random.below(4) == 0 {
                    extra[..4].copy_from_slice(&random.of(&ADDRESSES));
                }
                let level = random.mostly(&LEVELS);
                let option = random.below(80) as usize;
                let length = random.of(&[0, 1, 4, 8, 12, 16, 20, 64, 128]);
                let value = extra.as_mut_ptr() as usize;
                if random.below(4) == 0 {
                    let mut length = length as u32;
                    let size = std::ptr::from_mut(&mut length) as usize;
                    let arguments = [fd, level, option, value, size, 0];
                    let _ = syscall(libc::SYS_getsockopt, arguments);
                } else {
                    let arguments = [fd, level, option, value, length, 0];
                    let _ = syscall(libc::SYS_setsockopt, arguments);
                }
            }
            12 => {
                let call = random.of(&[libc::SYS_getsockname, libc::SYS_getpeername]);
                let mut length = random.below(129) as u32;
                let size = std::ptr::from_mut(&mut length) as usize;
                let _ = syscall(call, [fd, at, size, 0, 0, 0]);
            }
            _ => {
                extra.fill(0);
                extra[..3].copy_from_slice(random.of(&[b"lo\0", b"vsw", b"\0\0\0"]));
                let value = extra.as_mut_ptr() as usize;
                let _ = syscall(
                    libc::SYS_ioctl,
                    [fd, random.mostly(&COMMANDS), value, 0, 0, 0],
                );
            }
        }
    }
    fds.into_iter().for_each(close);
    Ok(())
}
