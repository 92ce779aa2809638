// SPDX-License-Identifier: GPL-2.0

//! Passing on what a guest writes while it runs, byte for byte.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Copies what is added to a file, until it is told that nothing more will come.
pub struct Follow {
    whole: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Follow {
    /// Begins; the file need not be there yet.
    pub fn new(path: &Path, to: impl Write + Send + 'static) -> Self {
        let whole = Arc::new(AtomicBool::new(false));
        let path = path.to_path_buf();
        let thread = {
            let whole = Arc::clone(&whole);
            thread::spawn(move || copy(path, to, &whole))
        };
        Self { whole, thread }
    }

    /// The file is whole: copies what is left and ends. A reader that has gone is no error.
    pub fn finish(self) -> io::Result<()> {
        self.whole.store(true, Ordering::Release);
        match self.thread.join() {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("the copying thread panicked")),
        }
    }
}

fn copy(path: PathBuf, mut to: impl Write, whole: &AtomicBool) -> io::Result<()> {
    let mut file = None;
    let mut room = vec![0; 1 << 16];
    loop {
        // Asked before the last look, so that nothing is missed.
        let last = whole.load(Ordering::Acquire);
        if file.is_none() {
            file = File::open(&path).ok();
        }
        if let Some(file) = &mut file {
            loop {
                match file.read(&mut room)? {
                    0 => break,
                    count => to.write_all(&room[..count])?,
                }
            }
            to.flush()?;
        }
        if last {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer whose bytes can be looked at from outside.
    #[derive(Clone, Default)]
    struct Shared(Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_byte_and_no_other() {
        let path = std::env::temp_dir().join(format!("vserver-follow-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let out = Shared::default();
        let follow = Follow::new(&path, out.clone());
        let mut file = File::create(&path).unwrap();
        let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        for part in bytes.chunks(77_777) {
            file.write_all(part).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        follow.finish().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(*out.0.lock().unwrap() == bytes);
    }

    #[test]
    fn a_guest_that_wrote_nothing() {
        let follow = Follow::new(Path::new("/nonexistent/output"), Shared::default());
        follow.finish().unwrap();
    }
}
