// SPDX-License-Identifier: GPL-2.0

//! File handles, which lead to a file without a walk. They can be guessed, so it does not matter who has made
//! one.

use super::*;

/// Makes a handle, and names the mount's number.
fn handle_of(path: &str) -> Result<[u8; 136], Errno> {
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    let mut handle = [0u8; 136];
    handle[0] = 128;
    let mut mount = 0i32;
    let arguments = [
        libc::AT_FDCWD as usize,
        path.as_ptr() as usize,
        handle.as_mut_ptr() as usize,
        std::ptr::from_mut(&mut mount) as usize,
        0,
        0,
    ];
    syscall(libc::SYS_name_to_handle_at, arguments).map(|_| handle)
}

fn open_handle(at: &impl AsRawFd, handle: &[u8; 136], flags: i32) -> Result<OwnedFd, Errno> {
    let arguments = [
        at.as_raw_fd() as usize,
        handle.as_ptr() as usize,
        flags as usize,
        0,
        0,
        0,
    ];
    syscall(libc::SYS_open_by_handle_at, arguments).map(|fd| own(fd as i32))
}

/// On each kind of file system that has them.
pub fn everywhere() -> Outcome {
    let kinds = KINDS.map(|kind| match kind {
        "overlay" => EXPORTED,
        kind => kind,
    });
    kinds.into_iter().try_for_each(|kind| on(kind, handles))
}

fn handles() -> Outcome {
    let file = format!("{ONE}/file");
    let targets = [
        (handle_of(&file).map_err(words)?, libc::O_RDONLY),
        (handle_of(ONE).map_err(words)?, libc::O_DIRECTORY),
        (handle_of(ONE).map_err(words)?, libc::O_PATH),
        (handle_of(WALL).map_err(words)?, libc::O_DIRECTORY),
        (handle_of(TOP).map_err(words)?, libc::O_DIRECTORY),
    ];
    let top = fs::File::open(TOP).map_err(words)?;
    for (handle, flags) in &targets {
        open_handle(&top, handle, *flags).map_err(|errno| format!("on the host: {errno}"))?;
    }
    for context in INSIDE {
        inside(context, || {
            denied("name_to_handle_at", handle_of(&file))?;
            for (handle, flags) in &targets {
                let got = open_handle(&top, handle, *flags).map(drop);
                equal("open_by_handle_at", got, Err(Errno::ESTALE))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// struct xfs_fsop_handlereq
#[repr(C)]
struct Request {
    fd: u64,
    path: usize,
    flags: u64,
    handle: usize,
    length: u64,
    made: usize,
    made_length: usize,
}

/// Asks XFS about a file, or with a handle.
fn ask(
    at: &fs::File,
    number: u32,
    file: Option<&fs::File>,
    handle: &mut [u8; 24],
) -> Result<i64, Errno> {
    let mut length = handle.len() as u32;
    let mut room = [0u8; 64];
    let made = match number {
        READ_LINK => room.as_mut_ptr(),
        _ => handle.as_mut_ptr(),
    };
    let mut request = Request {
        fd: file.map_or(0, |file| file.as_raw_fd() as u64),
        path: 0,
        flags: 0,
        handle: handle.as_ptr() as usize,
        length: handle.len() as u64,
        made: made as usize,
        made_length: std::ptr::from_mut(&mut length) as usize,
    };
    ioctl(at, 0xc038_5800 | number, &mut request)
}

/// XFS_IOC_FD_TO_HANDLE and what takes such a handle.
const MAKE: u32 = 106;
const OPEN: u32 = 107;
const READ_LINK: u32 = 108;

/// XFS has system calls of its own for that, from a time when nobody else had.
pub fn of_xfs() -> Outcome {
    let top = fs::File::open(TOP).map_err(words)?;
    let mut handle = [0; 24];
    let file = fs::File::open(format!("{ONE}/file")).map_err(words)?;
    ask(&file, MAKE, Some(&file), &mut handle).map_err(words)?;
    drop(file);
    std::os::unix::fs::symlink("secret", format!("{ONE}/link")).map_err(words)?;
    // A link cannot be opened, but its number can be known.
    let mut link = handle;
    let number = std::os::unix::fs::MetadataExt::ino(
        &fs::symlink_metadata(format!("{ONE}/link")).map_err(words)?,
    );
    link[16..].copy_from_slice(&number.to_ne_bytes());
    let generation = generation_of(&format!("{ONE}/link"))?;
    link[12..16].copy_from_slice(&generation);
    let mut folder = [0; 24];
    let one = fs::File::open(ONE).map_err(words)?;
    ask(&one, MAKE, Some(&one), &mut folder).map_err(words)?;
    drop(one);
    let all = [(OPEN, handle), (OPEN, folder), (READ_LINK, link)];
    for (number, mut handle) in all {
        let got = ask(&top, number, None, &mut handle);
        let got = got.map_err(|errno| format!("on the host, {number}: {errno}"))?;
        if number == OPEN {
            drop(own(got as i32));
        }
    }
    for context in INSIDE {
        inside(context, || {
            for (number, mut handle) in all {
                let got = ask(&top, number, None, &mut handle);
                equal(&format!("{number}"), got, Err(Errno::ESTALE))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The generation of a file, from the kernel's own kind of handle: inode number, then this.
fn generation_of(path: &str) -> Result<[u8; 4], String> {
    let handle = handle_of(path).map_err(words)?;
    // struct file_handle has two words before it; XFS's number is eight bytes with FILEID_INO64_GEN.
    let kind = u32::from_ne_bytes(handle[4..8].try_into().map_err(|_| "no handle")?);
    let at = if kind & 0xff == 0x81 { 16 } else { 12 };
    handle[at..at + 4]
        .try_into()
        .map_err(|_| "no handle".into())
}
